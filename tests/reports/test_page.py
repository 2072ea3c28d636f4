"""The page of a run: what it says, and that a browser can show it."""

import html.parser
import itertools
import shutil

import pytest
import run_folders

from jaxuda import report
from jaxuda.evaluation import scores as scores_lib
from jaxuda.reports import content, page, sessions
from jaxuda.utils import sealed

MEASURES = {
  'target/entropy': 0.4,
  'target/confident_share': 0.3,
  'target/flip_agreement': 0.9,
  'share/road': 0.6,
  'share/train': 0.01,
}
GAME = {'d_main/source_accuracy': 0.99, 'd_main/target_accuracy': 0.98}
ROWS = [
  (10, {'loss/seg_source_main': 2.5, **GAME}),
  (10, {'eval/mIoU': 0.2, **MEASURES}),
  (20, {'loss/seg_source_main': 1.5, **GAME}),
  (20, {'eval/mIoU': 0.3, **MEASURES, 'share/train': 0.0}),
]


@pytest.fixture
def run(tmp_path):
  """A run whose name is hostile."""
  folder = run_folders.write(
    tmp_path / '<b>run & co', 'steps=20', ious=[0.3] * 19, rows=ROWS
  )
  start = scores_lib.score(
    run_folders.counts_of([0.1] + 18 * [0.258]), 200, 'cityscapes19', None
  )
  scores_lib.write(folder / 'start_scores.json', scores_lib.to_json(start))
  run_folders.draw(folder, ('image', 'before', 'after', 'truth', 'entropy'))
  session = {
    'began': '2026-11-27T00:00:00+00:00',
    'command': 'python -m jaxuda.main --config=configs/advent.py:streets',
    'device': '1 x cpu',
    'processes': 1,
    'steps': [0, 20],
    'versions': {'jax': '0.10.2'},
    'seconds': 120.0,
    'of_which': {'compiling': 30.0, 'training': 60.0},
  }
  sealed.write(folder / sessions.FILE, {'sessions': [session]})
  return folder


class Page(html.parser.HTMLParser):
  """The texts and the pictures of a page."""

  def __init__(self, text):
    super().__init__()
    self.words, self.tags = [], []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))

  def handle_data(self, data):
    self.words.append(' '.join(data.split()))

  def of(self, tag):
    return [attrs for name, attrs in self.tags if name == tag]


def test_files_that_are_gone_are_told(run, tmp_path, capsys):
  (run / sessions.FILE).unlink()
  (run / 'scores.json').unlink()
  assert report.main(['report', str(run), f'--output={tmp_path}/r.html']) == 0
  said = capsys.readouterr().out
  assert 'sessions.json is not there' in said
  assert 'has no scores.json, though it was scored at its last step' in said


def test_a_log_that_is_cut_is_told(run, tmp_path, capsys):
  """In its last row, or behind the row before."""
  path, output = run / 'metrics.csv', f'--output={tmp_path}/r.html'
  whole = path.read_bytes()
  rows = whole.splitlines(keepends=True)
  for found in (whole, whole[:-9] + bytes(9), b''.join(rows[:-1])):
    path.write_bytes(found)
    content.print_once.cache_clear()
    assert report.main(['report', str(run), output]) == 0
    said = capsys.readouterr().out
    assert ('metrics.csv has lost its last rows' in said) == (found != whole)


def test_what_it_says(run, tmp_path):
  output = tmp_path / 'out' / 'report.html'
  assert report.main(['', str(run), f'--output={output}']) == 0
  text = output.read_text()
  found = Page(text)
  said = ' '.join(found.words)
  assert '<b>run' not in text and '<b>run & co' in said
  assert 'mIoU 30.0 (last checkpoint, 200 images of streets/city, val)' in said
  assert '25.0 at its start' in said
  assert 'step 20: no longer predicted on the target: train (1.0%)' in said
  assert 'd_main tells 99% of the source and 98% of the target right' in said
  assert 'python -m jaxuda.main --config=configs/advent.py:streets' in said
  assert 'jax 0.10.2' in said and '1 x cpu' in said
  # IoU of road and its difference to the start; of 120 s one half trained.
  assert '30.0 (+20.0)' in said
  at = found.words.index('training')
  assert [w for w in found.words[at:] if w][:3] == ['training', '1:00', '50%']
  assert 'starting, and the rest' in said
  # All is inside: no address of another file, and every picture has a text.
  images = found.of('img')
  assert len(images) == 2 * 5 + 7 + 1  # curves: 2 of training, 5 without labels
  for attrs in images:
    assert attrs['src'].startswith('data:image/png;base64,') and attrs['alt']
  assert not found.of('script') and not [
    a for a in found.of('link') if a['href'] != 'data:,'
  ]
  assert all(a['href'].startswith('#') for a in found.of('a'))


def test_several_runs(run, tmp_path):
  other = run_folders.write(
    tmp_path / 'other', 'steps=20', ious=[0.4] * 19, rows=ROWS
  )
  run_folders.draw(other)
  said = ' '.join(Page(page.render(content.read_all([run, other]))).words)
  assert '2 runs' in said and 'in brackets the difference to <b>run' in said
  assert '40.0 (+10.0)' in said
  assert 'after: other' in said and 'after: <b>run & co' in said


def test_runs_of_one_name_and_of_other_images(run, tmp_path):
  """Each has its own column and curve; pictures are of the same images."""
  for parent, more in (('a', ()), ('b', ('eval.split=tune',))):
    folder = run_folders.write(
      tmp_path / parent / 'same', *more, ious=[0.4] * 19, rows=ROWS
    )
    run_folders.draw(folder)
  runs = content.read_all([tmp_path / 'a/same', tmp_path / 'b/same'])
  assert [each.name for each in runs] == ['a/same', 'b/same']
  said = ' '.join(Page(page.render(runs)).words)
  assert 'difference to a/same' in said
  assert 'after: a/same' in said and 'after: b/same' not in said
  again = content.read_all([run, run])  # named twice, shown once
  assert [each.name for each in again] == ['<b>run & co']


def test_alarms_that_are_over(tmp_path):
  """The head has those of the last evaluation, the section all of them."""
  over = [*ROWS, (30, MEASURES), (30, GAME)]
  folder = run_folders.write(tmp_path / 'run', rows=over, ious=[0.3] * 19)
  [run] = content.read_all([folder])
  assert [step for step, _ in run.alarms] == [20]
  assert run.last_alarms == []
  words = Page(page.render([run])).words
  assert 'Alarms at all evaluations: 1' in words
  assert sum('no longer predicted' in word for word in words) == 1


def test_labelled_images_are_named(tmp_path):
  folder = run_folders.write(
    tmp_path / 'run', config='configs/ass.py:streets', rows=ROWS
  )
  said = ' '.join(Page(page.render(content.read_all([folder]))).words)
  assert 'labelled streets/city, train at 96x192, batch 4, 20 images' in said


def test_a_run_without_labels_and_one_that_goes_on(tmp_path):
  mine = run_folders.write(
    tmp_path / 'mine',
    'target.name=folder:/photos',
    config='configs/adabn.py:mine',
    rows=[(10, MEASURES), (20, MEASURES)],
  )
  said = ' '.join(Page(page.render(content.read_all([mine]))).words)
  assert 'not finished: step 20 of' in said and 'IoU of each class' not in said
  assert 'No alarm.' in said


@pytest.fixture
def browser():
  path = shutil.which('chromium') or shutil.which('google-chrome')
  if path is None:
    pytest.skip('there is no Chromium: apt install chromium')
  api = pytest.importorskip('playwright.sync_api')
  with api.sync_playwright() as playwright:
    started = playwright.chromium.launch(
      executable_path=path, args=['--no-sandbox']
    )
    yield started
    started.close()


@pytest.mark.slow
@pytest.mark.parametrize('width', [360, 1200])
def test_in_a_browser(run, tmp_path, browser, width):
  """No complaint, all pictures there, no sideways scrolling, by keyboard."""
  path = tmp_path / 'report.html'
  page.write([run], path)
  shown = browser.new_page(viewport={'width': width, 'height': 700})
  complaints, requests = [], []
  shown.on('console', lambda message: complaints.append(message.text))
  shown.on('pageerror', lambda error: complaints.append(str(error)))
  shown.on('request', lambda request: requests.append(request.url))
  shown.goto(path.as_uri())
  shown.evaluate('for (const i of document.images) i.loading = "eager"')
  shown.wait_for_function('[...document.images].every(i => i.complete)')
  assert complaints == []
  assert [u for u in requests if not u.startswith('data:')] == [path.as_uri()]
  assert shown.evaluate('[...document.images].every(i => i.naturalWidth > 0)')
  assert shown.evaluate('document.documentElement.scrollWidth') == width
  small = shown.evaluate(
    '[...document.querySelectorAll("p, td, th, figcaption, li")].filter('
    'e => parseFloat(getComputedStyle(e).fontSize) < 12).length'
  )
  assert small == 0
  # What scrolls can be reached by the keyboard, and says what it is.
  assert shown.evaluate(
    '[...document.querySelectorAll(".scroll")].every('
    'e => e.tabIndex === 0 && e.getAttribute("aria-label"))'
  )
  shown.keyboard.press('Tab')
  assert shown.evaluate('document.activeElement.tagName') == 'A'
  levels = shown.evaluate(
    '[...document.querySelectorAll("h1, h2, h3")].map(e => +e.tagName[1])'
  )
  assert levels[0] == 1 and levels.count(1) == 1
  assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
  assert shown.evaluate(
    '[...document.querySelectorAll("th")].every('
    'e => e.closest("thead, tbody") && e.scope)'
  )
