"""Downloads that are cut, gone on from, or not what the server says."""

import pytest
from fetching import CONTENT, OTHER, SHA256, call, names, refused

from jaxuda.torch_weights import download


def test_a_connection_that_is_cut_is_gone_on_from(server, listed, folder):
  listed(server.url(), sha256=SHA256)
  server.cuts = [2_100, 1_000]
  call('w')
  assert (folder / 'w.pth').read_bytes() == CONTENT
  ranges = [asked for _, asked in server.asked]
  assert ranges == [None, 'bytes=2100-', 'bytes=3100-']


def interrupted_at(server, size):
  """Fetch so many bytes, then find the server without the file."""
  server.cuts = [size]
  server.pause = lambda: setattr(server, 'missing', ('/w.pth',))
  said = refused()
  server.missing, server.pause = (), None
  return said


def test_a_later_call_goes_on(server, listed, folder):
  listed(server.url(), sha256=SHA256)
  assert '404 Not Found' in interrupted_at(server, 2_000)
  assert (folder / 'w.pth.part').read_bytes() == CONTENT[:2_000]
  server.asked.clear()
  call('w')
  assert server.asked == [('/w.pth', 'bytes=2000-')]
  assert (folder / 'w.pth').read_bytes() == CONTENT
  assert 'w.pth.part' not in names(folder)


@pytest.mark.parametrize('change', ['etag', 'address', 'no etag'])
def test_files_that_may_differ_are_not_spliced(change, server, listed, folder):
  """Nobody has published a hash that would tell."""
  listed(server.url())
  if change == 'no etag':
    server.etag = None
  interrupted_at(server, 2_000)
  server.content = OTHER
  if change == 'etag':
    server.etag = '"two"'
  if change == 'address':
    listed(server.url('/elsewhere.pth'))
  call('w')
  assert (folder / 'w.pth').read_bytes() == OTHER


def test_a_weak_etag_tells_nothing(server, listed, folder):
  listed(server.url())
  server.etag = 'W/"one"'
  interrupted_at(server, 2_000)
  server.asked.clear()
  call('w')
  assert server.asked == [('/w.pth', None)]


def test_a_part_that_is_whole_is_not_fetched_again(server, listed, folder):
  """Its process was killed before the file got its name."""
  listed(server.url(), sha256=SHA256)
  interrupted_at(server, 4_999)
  (folder / 'w.pth.part').write_bytes(CONTENT)
  server.asked.clear()
  call('w')
  assert not server.asked and (folder / 'w.pth').read_bytes() == CONTENT


def test_a_file_that_became_shorter(server, listed, folder):
  """Under the same ETag: what came of the longer one is no part of it."""
  listed(server.url())
  interrupted_at(server, 4_000)
  server.content = OTHER[:3_000]
  call('w')
  assert (folder / 'w.pth').read_bytes() == OTHER[:3_000]


def test_a_server_without_ranges(server, listed, folder):
  listed(server.url(), sha256=SHA256)
  server.ranges, server.cuts = False, [2_000]
  call('w')
  assert (folder / 'w.pth').read_bytes() == CONTENT
  (folder / 'w.pth').unlink()
  server.asked.clear()
  server.cuts = [2_000] * 9
  assert 'it was cut after 2,000 of 5,000 bytes' in refused()
  assert len(server.asked) == 2  # the second came no further


def test_lengths_that_are_not_true(server, listed, folder):
  listed(server.url(), sha256=SHA256)
  server.length = 6_000
  assert 'was cut after 5,000 of 6,000 bytes' in refused()
  server.length = 4_000
  download.forget(folder / 'w.pth.part')
  assert 'its sha256 is' in refused()
  listed(server.url(), bytes=len(CONTENT))
  assert 'it has 4,000 bytes in place of 5,000' in refused()
