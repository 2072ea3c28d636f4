"""Image files of any kind: how they are found, named and read."""

import os
import struct
import zlib

import numpy as np
import pytest
from photo_files import noise, save
from PIL import Image

from jaxuda.datasets import photos
from jaxuda.utils.errors import UserError


def test_reading_by_hand(tmp_path):
  """Each mode's pixels, from what the files were written with."""
  rgb = noise(6, 4)
  save(tmp_path / 'rgb.png', rgb)
  np.testing.assert_array_equal(photos.read(tmp_path / 'rgb.png'), rgb)

  # 16-bit grey: 0..65535 to 0..255, rounded.
  values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
  save(tmp_path / 'grey16.png', values)
  grey = photos.read(tmp_path / 'grey16.png')
  assert grey[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
  assert (grey == grey[..., :1]).all()

  # Transparency on white: opaque, a fifth, nothing of a red.
  alpha = np.array([[[200, 0, 0, 255], [200, 0, 0, 51], [200, 0, 0, 0]]])
  save(tmp_path / 'alpha.png', alpha.astype(np.uint8))
  seen = photos.read(tmp_path / 'alpha.png')[0].tolist()
  assert seen == [[200, 0, 0], [244, 204, 204], [255, 255, 255]]

  palette = Image.new('P', (2, 1))
  palette.putpalette([10, 20, 30, 40, 50, 60])
  palette.putdata([1, 0])
  palette.save(tmp_path / 'palette.png')
  assert photos.read(tmp_path / 'palette.png').tolist() == [
    [[40, 50, 60], [10, 20, 30]]
  ]
  palette.save(tmp_path / 'hole.png', transparency=1)
  assert photos.read(tmp_path / 'hole.png')[0, 0].tolist() == [255] * 3


@pytest.mark.parametrize(
  ('orientation', 'turn'),
  [
    (1, lambda x: x),
    (3, lambda x: x[::-1, ::-1]),
    (6, lambda x: np.rot90(x, -1)),  # the camera was turned: 90 degrees right
    (8, np.rot90),
  ],
)
def test_exif_rotation(tmp_path, orientation, turn):
  image = noise(6, 10)
  exif = Image.Exif()
  exif[0x0112] = orientation
  path = save(tmp_path / 'a.png', image, exif=exif)
  np.testing.assert_array_equal(photos.read(path), turn(image))


def test_no_image_is_too_large(tmp_path, monkeypatch):
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
  image = noise(40, 70)
  path = save(tmp_path / 'a.png', image)
  np.testing.assert_array_equal(photos.read(path), image)
  # The limit is lifted for this read, also where it fails.
  with pytest.raises(photos.UnreadableError):
    photos.read(tmp_path / 'none.png')
  with pytest.raises(Image.DecompressionBombError):
    Image.open(path)


def test_names_are_unique(tmp_path):
  for name in ('a.png', 'a.jpg', 'a_png.bmp', 'B.PNG', 'b.png', 'c.d.png'):
    save(tmp_path / name, noise(2, 2))
  save(tmp_path / 'sub' / 'a.png', noise(2, 2))
  names = {p.path.name: p.name for p in photos.find(tmp_path)[:-1]}
  assert names['a_png.bmp'] == 'a_png' and names['c.d.png'] == 'c.d'
  assert names['a.jpg'] == 'a_jpg' and names['a.png'] == 'a_png_2'
  everything = [p.name.lower() for p in photos.find(tmp_path)]
  assert len(set(everything)) == 7 and everything[-1] == 'sub/a'


def test_what_is_found(tmp_path, capsys):
  """Images in subfolders; neither hidden, linked nor what is left out."""
  for name in ('a.png', 'sub/B.JPEG', 'sub/.c.png', '.d/e.png', 'out/f.png'):
    save(tmp_path / name, noise(2, 2))
  (tmp_path / 'notes.txt').write_text('no image')
  (tmp_path / 'phone.heic').touch()
  (tmp_path / 'again').symlink_to(tmp_path / 'sub')
  (tmp_path / 'plain').write_bytes((tmp_path / 'a.png').read_bytes())
  found = photos.find(tmp_path, without=tmp_path / 'out')
  assert [photo.name for photo in found] == ['a', 'sub/B']
  assert [photo.path for photo in found] == [
    tmp_path / 'a.png',
    tmp_path / 'sub' / 'B.JPEG',
  ]
  said = f'{tmp_path}: passed over 4 files (1 again, 1 .txt, 1 .heic, 1 plain)'
  assert capsys.readouterr().out == f'{said}\n'
  # A single file may have any suffix.
  plain = tmp_path / 'plain'
  assert photos.find(plain) == [photos.Photo(plain, 'plain')]


@pytest.mark.parametrize('suffix', ['tif', 'gif', 'avif', 'jp2', 'ppm', 'tga'])
def test_every_format_that_pillow_reads(suffix, tmp_path):
  path = save(tmp_path / f'a.{suffix}', np.full((8, 8, 3), 200, np.uint8))
  assert [photo.path for photo in photos.find(tmp_path)] == [path]
  assert np.abs(photos.read(path).astype(int) - 200).max() <= 2


def test_nothing_to_find(tmp_path):
  empty = tmp_path / 'empty'
  empty.mkdir()
  with pytest.raises(
    UserError, match=r'empty and its subfolders hold no image'
  ):
    photos.find(empty)
  with pytest.raises(UserError, match='neither a folder nor a file'):
    photos.find(tmp_path / 'missing')
  save(tmp_path / 'in' / 'a.png', noise(4, 4))
  with pytest.raises(UserError, match='write to another folder'):
    photos.find(tmp_path / 'in', without=tmp_path / 'in')


def test_a_glob(tmp_path):
  """Names begin where it does; what is predicted, and hidden, is left out."""
  for name in ('a/b.png', 'a/c.jpg', 'a/deep/d.png', 'out/e.png', 'f.png'):
    save(tmp_path / name, noise(2, 2))
  (tmp_path / 'a' / 'notes.txt').touch()

  def names(pattern, **more):
    found = photos.find(tmp_path / pattern, without=tmp_path / 'out', **more)
    return [photo.name for photo in found]

  assert names('a/*') == ['b', 'c']
  assert names('*/*.png') == ['a/b']
  assert names('**/*.png') == ['a/b', 'a/deep/d', 'f']
  (tmp_path / 'a' / 'film.mp4').touch()
  assert names('a/*', also=('.mp4',)) == ['b', 'c', 'film']
  save(tmp_path / '[1].png', noise(2, 2))
  assert names('[1].png') == ['[1]']  # a file before it is a pattern
  with pytest.raises(UserError, match=r'\*\.gif matches no image'):
    names('a/*.gif')


def test_what_would_never_end(tmp_path):
  """A pipe and a device, also by a link; told by name, at once."""
  os.mkfifo(tmp_path / 'pipe.png')
  (tmp_path / 'link.png').symlink_to('pipe.png')
  (tmp_path / 'zero.png').symlink_to('/dev/zero')
  for name in ('pipe.png', 'link.png', 'zero.png'):
    with pytest.raises(photos.UnreadableError, match='it is no regular file'):
      photos.read(tmp_path / name)
    assert photos.size(tmp_path / name) is None


def test_a_bomb(tmp_path):
  """A header of 1 bit a pixel that would be 7 GB in RGB, told by its size."""

  def chunk(kind, data):
    checksum = struct.pack('>I', zlib.crc32(kind + data))
    return struct.pack('>I', len(data)) + kind + data + checksum

  header = struct.pack('>IIBBBBB', 49152, 49152, 1, 0, 0, 0, 0)
  content = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header)
  content += chunk(b'IDAT', zlib.compress(bytes(10**6))) + chunk(b'IEND', b'')
  (tmp_path / 'bomb.png').write_bytes(content)
  with pytest.raises(photos.UnreadableError) as caught:
    photos.read(tmp_path / 'bomb.png')
  assert str(caught.value) == '49152 x 49152 pixels are more than 536,870,912'


def test_an_animation_is_told(tmp_path, capsys):
  frames = [Image.new('RGB', (6, 4), color) for color in ('red', 'blue')]
  path = tmp_path / 'a\x1b[31m.gif'
  frames[0].save(path, save_all=True, append_images=frames[1:])
  frames[0].save(tmp_path / 'one.gif')
  for _ in range(2):
    assert photos.read(path)[0, 0].tolist() == [255, 0, 0]
  photos.read(tmp_path / 'one.gif')
  said = capsys.readouterr().out
  shown = str(path).replace('\x1b', r'\x1b')
  assert said == f'{shown}: the first of its 2 frames is read\n'
