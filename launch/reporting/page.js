// Draws the charts of a report, one after the other so that the page can be
// read and scrolled meanwhile, and lets films be stopped.
(() => {
  'use strict';
  const config = {
    responsive: true,
    displaylogo: false,
    // Plotly's button that uploads a chart: no data leave this page.
    showSendToCloud: false,
    plotlyServerURL: '',
    modeBarButtonsToRemove: ['select2d', 'lasso2d', 'toImage'],
  };
  const template = JSON.parse(
    document.getElementById('chart-template').textContent);
  // A finger that moves over a chart scrolls the page; buttons zoom.
  const isTouched = matchMedia('(pointer: coarse)').matches;
  const charts = [...document.querySelectorAll('.chart')];

  const draw = (chart) => {
    const figure = JSON.parse(
      document.getElementById(`${chart.id}-data`).textContent);
    figure.layout.template = template;
    if (isTouched) {
      figure.layout.dragmode = false;
      // Buttons are always there, and need a place of their own.
      figure.layout.margin = {...template.layout.margin, t: 40};
    }
    return Plotly.newPlot(chart, figure.data, figure.layout, config);
  };
  const drawNext = (i) => {
    if (i === charts.length) {
      document.documentElement.dataset.charts = 'drawn';
      return;
    }
    draw(charts[i]).then(() => setTimeout(drawNext, 0, i + 1));
  };
  drawNext(0);

  // Paper is narrower than a screen.
  const isDrawn = (chart) => chart.classList.contains('js-plotly-plot');
  addEventListener('beforeprint', () => {
    for (const chart of charts) {
      if (!isDrawn(chart)) draw(chart);
      Plotly.relayout(chart, {autosize: false, width: 340, height: 280});
    }
  });
  addEventListener('afterprint', () => {
    for (const chart of charts) {
      Plotly.relayout(
        chart, {autosize: true, width: undefined, height: undefined});
    }
  });

  // A still picture stands in for an animated one that was stopped.
  for (const button of document.querySelectorAll('button.stop')) {
    const film = button.parentElement.querySelector('img');
    const still = document.createElement('canvas');
    still.setAttribute('role', 'img');
    still.setAttribute('aria-label', film.alt);
    const show = (isStopped) => {
      if (isStopped) {
        still.width = film.naturalWidth;
        still.height = film.naturalHeight;
        still.getContext('2d').drawImage(film, 0, 0);
        film.replaceWith(still);
      } else {
        still.replaceWith(film);
      }
      button.textContent = isStopped ? 'Play' : 'Stop';
    };
    button.hidden = false;
    button.addEventListener('click', () => show(film.isConnected));
    if (matchMedia('(prefers-reduced-motion: reduce)').matches) {
      film.decode().then(() => show(true), () => {});
    }
  }
})();
