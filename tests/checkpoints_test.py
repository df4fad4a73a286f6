"""Checkpoints are all or nothing, and say why they cannot be used."""

import json
import os
import pathlib
import shutil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from skills import checkpoints
from skills import presets
from skills import registry
from tests import problems

STATE = {
  'weights': np.arange(6, dtype=np.float32).reshape(2, 3),
  'nest': (np.int32(3), [np.array([True, False])]),
}
META = {'counts': {'steps': 7}, 'note': 'none'}


def save(folder, step=7, state=STATE, **kwargs):
  return checkpoints.save(folder, step, state, META, **kwargs)


def refusal(checkpoint, like=STATE):
  with pytest.raises(checkpoints.CheckpointError) as error:
    checkpoints.load(checkpoint, like)
  message = str(error.value)
  assert '\n' not in message
  assert str(checkpoint) in message
  return message


def test_a_checkpoint_is_loaded_bit_for_bit(tmp_path):
  folder = save(tmp_path / 'a' / 'b')
  assert folder == checkpoints.latest(tmp_path / 'a' / 'b')
  assert folder.name == '000000000007'
  state, meta = checkpoints.load(folder, STATE)
  chex.assert_trees_all_equal(state, STATE)
  chex.assert_trees_all_equal_dtypes(state, STATE)
  assert jax.tree.structure(state) == jax.tree.structure(STATE)
  assert meta == META
  # Shapes suffice to say what is expected.
  like = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, STATE))
  chex.assert_trees_all_equal(checkpoints.load(folder, like)[0], STATE)


@pytest.mark.parametrize('problem', ['table', 'networks'])
@pytest.mark.parametrize('name', sorted(registry.OBJECTIVES))
def test_every_agent_s_learner_state_survives_bit_for_bit(
  tmp_path, name, problem
):
  if problem == 'networks' and name == 'counts':
    pytest.skip('counts states, of which there are none')
  spec = problems.TABLE if problem == 'table' else problems.VECTOR
  config = presets.make(name, 'some:task', spec)
  learner = registry.make_agent(config, spec).learner
  like = jax.eval_shape(learner.init, jax.random.PRNGKey(0))
  # Any bits will do.
  noise = np.random.default_rng(0)
  state = jax.tree.map(
    lambda x: (noise.random(x.shape) * 1e6).astype(x.dtype), like
  )
  restored, _ = checkpoints.load(save(tmp_path, state=state), like)
  assert jax.tree.structure(restored) == jax.tree.structure(state)
  for one, other in zip(jax.tree.leaves(restored), jax.tree.leaves(state)):
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert one.tobytes() == np.asarray(other).tobytes()


def test_only_the_newest_two_are_kept(tmp_path):
  for step in (1, 20, 300, 4000):
    save(tmp_path, step)
  names = sorted(path.name for path in tmp_path.iterdir())
  assert names == ['000000000300', '000000004000']
  assert checkpoints.latest(tmp_path).name == '000000004000'
  save(tmp_path, 5000, keep=1)
  assert [path.name for path in tmp_path.iterdir()] == ['000000005000']


def test_a_step_that_is_saved_again_is_replaced(tmp_path):
  save(tmp_path)
  save(tmp_path, state=jax.tree.map(np.zeros_like, STATE))
  state, _ = checkpoints.load(checkpoints.latest(tmp_path), STATE)
  assert not state['weights'].any()
  assert len(list(tmp_path.iterdir())) == 1


def test_extra_files_belong_to_the_checkpoint(tmp_path):
  def extra(folder):
    (folder / 'more').mkdir()
    (folder / 'more' / 'file').write_text('content')

  folder = save(tmp_path, extra=extra)
  assert (folder / 'more' / 'file').read_text() == 'content'


class Killed(BaseException):
  """As if the process had ended here."""


def killed(*_, **__):
  raise Killed


@pytest.mark.parametrize('moment', ['extra', 'state', 'meta', 'rename'])
def test_a_program_killed_while_it_saves_leaves_the_one_before(
  tmp_path, monkeypatch, moment
):
  save(tmp_path, 1)
  kwargs = {}
  if moment == 'extra':

    def extra(folder):
      (folder / 'half').write_text('written')
      raise Killed

    kwargs['extra'] = extra
  elif moment == 'state':
    monkeypatch.setattr(checkpoints.np, 'savez', killed)
  elif moment == 'meta':
    monkeypatch.setattr(checkpoints.files, 'write_json', killed)
  else:
    monkeypatch.setattr(checkpoints.files.os, 'replace', killed)
  with pytest.raises(Killed):
    save(tmp_path, 2, state=jax.tree.map(np.zeros_like, STATE), **kwargs)
  monkeypatch.undo()
  newest = checkpoints.latest(tmp_path)
  assert newest.name == '000000000001'
  chex.assert_trees_all_equal(checkpoints.load(newest, STATE)[0], STATE)
  # What it left does not stand in the way of the next one.
  save(tmp_path, 2)
  assert checkpoints.latest(tmp_path).name == '000000000002'
  assert not (checkpoints.latest(tmp_path) / 'half').exists()


def test_a_program_killed_while_it_replaces_a_checkpoint_leaves_one(
  tmp_path, monkeypatch
):
  save(tmp_path)
  monkeypatch.setattr(checkpoints.files.os, 'rename', killed)
  with pytest.raises(Killed):
    save(tmp_path)
  monkeypatch.undo()
  checkpoints.load(checkpoints.latest(tmp_path), STATE)


def test_leftovers_are_neither_read_nor_kept(tmp_path):
  leftover = tmp_path / '.000000000009.abc.unfinished'
  leftover.mkdir()
  (leftover / 'state.npz').write_text('half')
  (tmp_path / 'notes.txt').write_text('mine')
  with pytest.raises(checkpoints.CheckpointError, match='no checkpoint in'):
    checkpoints.latest(tmp_path)
  save(tmp_path, 3)
  assert checkpoints.latest(tmp_path).name == '000000000003'
  assert not leftover.exists()
  assert (tmp_path / 'notes.txt').exists()


def test_a_folder_that_does_not_exist_has_no_checkpoint(tmp_path):
  with pytest.raises(checkpoints.CheckpointError, match='no checkpoint in'):
    checkpoints.latest(tmp_path / 'nowhere')


def test_another_format_is_refused(tmp_path):
  folder = save(tmp_path)
  meta = json.loads((folder / 'meta.json').read_text())
  (folder / 'meta.json').write_text(json.dumps({**meta, 'format_version': 99}))
  message = refusal(folder)
  assert 'format version 99; this program reads 1' in message


@pytest.mark.parametrize('damage', ['cut', 'empty', 'gone', 'text'])
def test_a_broken_archive_is_refused(tmp_path, damage):
  folder = save(tmp_path)
  path = folder / 'state.npz'
  if damage == 'gone':
    path.unlink()
  else:
    content = path.read_bytes()
    path.write_bytes(
      {'cut': content[: len(content) // 2], 'empty': b'', 'text': b'hello'}[
        damage
      ]
    )
  assert 'is broken' in refusal(folder)


@pytest.mark.parametrize('damage', ['gone', 'cut'])
def test_broken_meta_data_are_refused(tmp_path, damage):
  folder = save(tmp_path)
  path = folder / 'meta.json'
  if damage == 'gone':
    path.unlink()
  else:
    path.write_text(path.read_text()[:20])
  assert 'is no checkpoint' in refusal(folder)


def test_a_state_of_another_configuration_is_refused_by_its_leaf(tmp_path):
  folder = save(tmp_path)
  message = refusal(folder, {**STATE, 'more': np.zeros(3)})
  assert 'has no "[\'more\']"; it is of another configuration' in message
  message = refusal(folder, {'weights': STATE['weights']})
  assert 'also has "[\'nest\'][0]", which this configuration lacks' in message
  wider = {**STATE, 'weights': np.zeros((2, 4), np.float32)}
  message = refusal(folder, wider)
  assert 'is float32[2, 3], but this configuration needs float32[2, 4]' in (
    message
  )
  message = refusal(folder, {**STATE, 'weights': np.zeros((2, 3), np.float64)})
  assert 'needs float64[2, 3]' in message


def test_numpy_alone_can_read_it(tmp_path):
  folder = save(tmp_path)
  with np.load(folder / 'state.npz', allow_pickle=False) as file:
    assert file["['weights']"].tolist() == STATE['weights'].tolist()


def test_it_may_be_moved(tmp_path):
  folder = save(tmp_path / 'here')
  shutil.copytree(folder, tmp_path / 'there')
  chex.assert_trees_all_equal(
    checkpoints.load(tmp_path / 'there', STATE)[0], STATE
  )
  assert os.fspath(folder) == str(pathlib.Path(folder))
