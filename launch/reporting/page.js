// Lets animated pictures be stopped: a still one stands in for them.
(() => {
  'use strict';
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
