"""Users' own data, written here by Pillow and read back from the records."""

import io
import os

import numpy as np
import pytest
from PIL import Image

from jaxuda import input as input_lib
from jaxuda import labels
from jaxuda.datasets import images, own, prepare, specs, verify
from jaxuda.labels import tables
from jaxuda.utils.errors import UserError

HARBOUR = """
classes = [
  { name = "water", color = [0, 80, 200], id = 7 },
  { name = "quay", color = [200, 100, 0], id = 2, from = { @ } },
]
void = [0]
[splits.train]
images = "images/train"
labels = "labels/**/*_gt.png"
""".replace('@', 'cityscapes19 = ["road", "sidewalk"]')
MAP = np.array([[0, 7, 2, 2], [7, 7, 2, 0]], np.uint8)
PAINTED = {0: (0, 0, 0), 7: (0, 80, 200), 2: (200, 100, 0)}


@pytest.fixture
def harbour(tmp_path):
  """A labelled dataset: one label of ids, one that is painted."""
  (tmp_path / 'images/train/b').mkdir(parents=True)
  (tmp_path / 'labels/b').mkdir(parents=True)
  image = np.full((*MAP.shape, 3), 9, np.uint8)
  for name in ('a', 'b/c'):
    Image.fromarray(image).save(tmp_path / f'images/train/{name}.webp')
  Image.fromarray(MAP).save(tmp_path / 'labels/a_gt.png')
  painted = np.array([[PAINTED[i] for i in row] for row in MAP], np.uint8)
  Image.fromarray(painted).save(tmp_path / 'labels/b/c_gt.png')
  path = tmp_path / 'harbour.toml'
  path.write_text(HARBOUR)
  return path


def test_what_nobody_published_has_no_column(harbour, capsys):
  """The report of a user's own data: what was found, its path told once."""
  verify.show(verify.verify_raw(str(harbour), None, 1))
  title, *_, last = (printed := capsys.readouterr().out).splitlines()
  assert 'found' in printed and 'expected' not in printed
  assert title == f'{harbour}: raw files'
  assert last == f'{harbour}: all is well'


def test_own_labels_are_read_back(harbour, tmp_path):
  """By ids and by colours, also after the file of the classes is gone."""
  spec, data = str(harbour), tmp_path / 'data'
  assert verify.verify_raw(spec, None, 1)['ok']
  prepare.prepare(spec, size=None, data_dir=data, workers=1)
  harbour.unlink()
  records = input_lib.open_records(spec, None, 'train', data)
  assert [records.parse(i)['id'] for i in range(2)] == [b'a', b'b/c']
  found = []
  for i in range(2):
    raw = np.asarray(Image.open(io.BytesIO(records.parse(i)['label'])))
    found.append(labels.id_map(records.encoding, records.encoding)[raw])
  expected = np.array([[255, 0, 1, 1], [0, 0, 1, 255]], np.uint8)
  np.testing.assert_array_equal(found, [expected, expected])


def saved(array, palette_of=None):
  """A PNG file; with a palette of so many colours, which tell its bits."""
  image = Image.fromarray(array)
  if palette_of:
    image = Image.frombytes('P', image.size, image.tobytes())
    image.putpalette([9, 9, 9] * palette_of)
  file = io.BytesIO()
  image.save(file, 'PNG')
  return file.getvalue()


def test_labels_of_every_form_are_read(harbour):
  """Of few colours drawing programs write palettes of fewer bits."""
  painted = np.array([[PAINTED[i] for i in row] for row in MAP], np.uint8)
  opaque = np.concatenate([painted, np.full((*MAP.shape, 1), 255)], -1)
  described = own.describe(str(harbour))

  def ids(data):
    return np.asarray(
      images.read_label(
        data, 'x.png', 'own', described.LABEL_FORMATS, described.colors
      )
    )

  for bits in (4, 8):
    data = saved(MAP, 2**bits)
    assert data[24:26] == bytes([bits, 3])  # of the PNG header
    np.testing.assert_array_equal(ids(data), MAP)
  for array in (MAP, painted, opaque.astype(np.uint8)):
    np.testing.assert_array_equal(ids(saved(array)), MAP)
  with pytest.raises(UserError, match='16-bit grey PNG; save it as 8-bit grey'):
    ids(saved(MAP.astype(np.uint16)))


def test_changed_files_are_told(harbour, tmp_path):
  """But no comments."""
  spec, data = str(harbour), tmp_path / 'data'
  folder = prepare.prepare(spec, size=None, data_dir=data, workers=1)
  harbour.write_text(f'# a comment\n{HARBOUR}')
  assert prepare.ensure(spec, None, data) == folder
  harbour.write_text(HARBOUR.replace('id = 7', 'id = 8'))
  with pytest.raises(UserError, match=f'have changed.*delete {folder}'):
    prepare.ensure(spec, None, data)


def test_a_file_that_comes_meanwhile_is_told(harbour, tmp_path, monkeypatch):
  """It is among what the folder has when it is prepared, not before."""
  spec, data = str(harbour), tmp_path / 'data'

  def gather(*arguments):
    extra = tmp_path / 'images/train/b/d.webp'
    extra.write_bytes((tmp_path / 'images/train/a.webp').read_bytes())
    label = (tmp_path / 'labels/a_gt.png').read_bytes()
    (tmp_path / 'labels/b/d_gt.png').write_bytes(label)
    return before(*arguments)

  before = prepare.gather.gather
  monkeypatch.setattr(prepare.gather, 'gather', gather)
  prepare.prepare(spec, size=None, data_dir=data, workers=1)
  with pytest.raises(UserError, match='have changed'):
    prepare.ensure(spec, None, data)


def test_what_is_refused_names_the_command(harbour, tmp_path):
  (tmp_path / 'labels/a_gt.png').unlink()
  with pytest.raises(UserError) as e:
    prepare.ensure(str(harbour), (4, 8), tmp_path / 'd')
  command = f'python -m data.prepare {harbour} --size=4x8 --data_dir='
  command += f'{tmp_path / "d"} --allow_missing'
  assert f'has no label. `{command}` leaves' in str(e.value)
  with pytest.raises(UserError, match=r'--raw=x: .* says where it is'):
    prepare.prepare(str(harbour), size=None, raw='x', data_dir=tmp_path / 'd')
  with pytest.raises(UserError, match=r'--raw=x: .* says where it is'):
    verify.verify_raw(str(harbour), 'x', 1)


def test_colours_without_a_class_are_refused(harbour, tmp_path):
  painted = np.full((*MAP.shape, 3), 3, np.uint8)
  Image.fromarray(painted).save(tmp_path / 'labels/b/c_gt.png')
  with pytest.raises(UserError, match=r'b/c_gt\.png: has colours.*#030303'):
    prepare.prepare(str(harbour), size=None, data_dir=tmp_path / 'd', workers=1)


def test_two_files_share_a_table(harbour, tmp_path):
  """Painted labels are read by a table in a file beside theirs."""
  folder = tmp_path / 'below'
  folder.mkdir()
  other = folder / 'other.toml'
  other.write_text(
    'encoding = "../harbour.toml"\n[splits.val]\n'
    'images = "../images/train/b"\nlabels = "../labels/b/*_gt.png"\n'
  )
  with pytest.raises(UserError, match=r'are those of \.\./harbour\.toml: name'):
    labels.space(str(other))
  spec, data = str(other), tmp_path / 'data'
  assert verify.verify_raw(spec, None, 1)['ok']
  made = prepare.prepare(spec, size=None, data_dir=data, workers=1)
  records = input_lib.open_records(spec, None, 'val', data)
  assert records.encoding == str(made / 'harbour.toml')
  stored = Image.open(io.BytesIO(records.parse(0)['label_full']))
  np.testing.assert_array_equal(np.asarray(stored), MAP)
  assert prepare.ensure(spec, None, data) == made
  harbour.write_text(HARBOUR.replace('id = 7', 'id = 8'))
  with pytest.raises(UserError, match='have changed'):
    prepare.ensure(spec, None, data)


def test_classes_of_another_table_count_by_from(harbour):
  merged = labels.merge('cityscapes19', str(harbour)).tolist()
  assert merged == [1, 1] + 17 * [-1]  # road and sidewalk are quay
  assert labels.merge(str(harbour), 'cityscapes19').tolist() == [-1, -1]
  # Labels that are scored in their own classes have one that counts as theirs.
  spec = str(harbour)
  ids = labels.id_map(spec, 'cityscapes19', spec)
  assert {i: int(v) for i, v in enumerate(ids) if v != 255} == {2: 0}


def test_equal_names_are_equal_classes(harbour):
  """Unless the table says something else of one of them."""
  harbour.write_text(HARBOUR.replace('"water"', '"sky"'))
  assert labels.merge('cityscapes19', str(harbour))[[0, 1, 10]].tolist() == [
    *(1, 1, 0)
  ]
  assert labels.merge(str(harbour), 'cityscapes19').tolist() == [10, -1]
  none = HARBOUR.replace('"water",', '"sky", from = { cityscapes19 = [] },')
  harbour.write_text(none)
  assert labels.merge('cityscapes19', str(harbour))[10] == -1


@pytest.mark.parametrize(
  ('old', 'new', 'told'),
  [
    ('id = 7', 'id = 2', 'two classes the id 2'),
    ('"quay"', '"water"', "names a class twice: 'water'"),
    ('[0, 80, 200]', '[0, 80, 256]', "class 'water': color must be"),
    ('id = 7', 'di = 7', "has 'di', which is no key; did you mean 'id'"),
    ('void = [0]', 'void = [7]', "7 is void and 'water'"),
    ('[200, 100, 0]', '[0, 80, 200]', 'two classes the color'),
    ('void = [0]', 'void = { quay = 0 }', "'quay' is a class and void"),
    ('void = [0]', 'void = { a = 0, b = 0 }', 'void names the id 0 twice'),
    ('"water"', '"wa\\nter"', 'a name is one line'),
    ('void', 'means = 3\nvoid', 'means must be a list'),
    ('void', 'means = [["quay"], ["water"]]\nvoid', 'both .* called mIoU-1'),
    ('void', 'viod = 3\nvoid', "'viod' is no key; did you mean 'void'"),
    ('cityscapes19 =', 'cityscape19 =', "mean 'cityscapes19'"),
    (
      '"sidewalk"] }',
      '"sidewalk"] } }, { name = "road", id = 3, from = { '
      'cityscapes19 = ["road"] }',
      'names a class twice: .*road',
    ),
    ('id = 7', 'ids = { a = 7 }', 'without an id of a'),
    (HARBOUR, HARBOUR.replace(' id =', ' ids.a ='), 'void must be { ENCODING'),
    ('"sidewalk"', '"sidewlak"', "did you mean 'sidewalk'"),
    ('void', 'things = ["boat"]\nvoid', "things: 'boat' is not a class"),
    ('[splits.train]', '[splits.trian]', "did you mean 'train'"),
    ('images =', 'image =', r'\[splits.train\] has images'),
    ('images/train', 'pictures', 'matches no file in .*pictures'),
    ('classes = [', 'classes = {', 'cannot be read'),
  ],
)
def test_a_wrong_file_is_told(harbour, old, new, told):
  harbour.write_text(HARBOUR.replace(old, new))
  with pytest.raises(UserError, match=told) as raised:
    described = own.describe(str(harbour))
    described.examples(harbour, '', 'train')
  assert str(harbour) in str(raised.value)


def test_a_folder_has_images_alone(tmp_path):
  """Turned upright by EXIF, and named by where they lie."""
  (tmp_path / 'photos/sub').mkdir(parents=True)
  lying = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
  exif = lying.getexif()
  exif[274] = 6  # a quarter turn clockwise
  lying.save(tmp_path / 'photos/sub/x.png', exif=exif)
  (tmp_path / 'photos/notes.txt').write_text('no image')
  spec = f'folder:{tmp_path / "photos"}'
  prepare.prepare(spec, size=None, data_dir=tmp_path / 'd', workers=1)
  records = input_lib.open_records(spec, None, 'train', tmp_path / 'd')
  example = records.parse(0)
  assert len(records) == 1 and not records.labelled
  assert example['id'] == b'sub/x'
  image = np.asarray(Image.open(io.BytesIO(example['image'])))
  np.testing.assert_array_equal(image, np.rot90(np.asarray(lying), -1))


def of_shapes(folder, shapes):
  for i, shape in enumerate(shapes):
    Image.new('RGB', shape[::-1]).save(folder / f'{i:03}.png')
  return f'folder:{folder}'


def test_the_size_is_that_of_most_images(tmp_path):
  """4:3 with the pixels of 96x192: 117.6 x 156.8, in steps of 16."""
  spec = of_shapes(tmp_path, [(30, 40), (30, 40), (60, 80), (40, 30)])
  found = own.choose_size(spec, 'train', (96, 192), 16)
  assert found == ((112, 160), 4, 1)
  assert own.choose_size(spec, 'train', (96, 192), 14)[0] == (112, 154)


def test_the_size_is_one_that_images_have(tmp_path):
  """Of as many upright as lying ones, the upright; no square between them."""
  spec = of_shapes(tmp_path, [(32, 64), (64, 32)])
  found = own.choose_size(spec, 'train', (32, 64), 1)
  assert found == ((64, 32), 2, 1)


@pytest.mark.parametrize(('count', 'looked_at'), [(200, 200), (201, 101)])
def test_the_size_is_chosen_from_two_hundred_at_most(
  count, looked_at, tmp_path
):
  spec = of_shapes(tmp_path, count * [(2, 4)])
  assert own.choose_size(spec, 'train', (4, 8), 1) == ((4, 8), looked_at, 0)


def test_names_are_the_same_from_anywhere(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  spec = f'folder:{tmp_path}/Große Fotos'
  assert own.absolute('folder:Große Fotos') == spec
  assert specs.tfds_name('folder:Große Fotos') == own.slug(spec)
  assert own.slug(spec).startswith('own_gro_e_fotos_')
  assert not own.is_own('streets/game') and tables.is_file('a.toml')
  with pytest.raises(UserError, match='there is no folder'):
    own.describe(spec)
  assert not os.listdir(tmp_path)
