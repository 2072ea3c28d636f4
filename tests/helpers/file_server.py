"""A server of one file on this machine, which fails as real ones do."""

import contextlib
import http.server
import threading


class FileServer(http.server.ThreadingHTTPServer):
  """Serves `content` at every path but those of `missing`.

  Attributes:
    content: of the file.
    etag: of the file, None for none.
    ranges: whether it knows ranges.
    cuts: bytes after which a connection is cut, one of each answer; None for
      the whole.
    length: what it says that it has, None for the truth.
    kind: its Content-Type.
    missing: paths that are not there.
    pause: set before a body is sent, where a test waits inside of one.
    asked: (path, Range) of each request.
  """

  daemon_threads = True

  def __init__(self, content):
    super().__init__(('127.0.0.1', 0), _Handler)
    self.content, self.etag, self.ranges = content, '"one"', True
    self.cuts, self.length, self.missing = [], None, ()
    self.kind, self.pause = 'application/octet-stream', None
    self.asked = []

  def url(self, path='/w.pth'):
    """Return the address of a path."""
    return f'http://127.0.0.1:{self.server_address[1]}{path}'


class _Handler(http.server.BaseHTTPRequestHandler):
  def do_GET(self):
    server, start = self.server, 0
    asked = self.headers.get('Range')
    server.asked.append((self.path, asked))
    if self.path in server.missing:
      self.send_error(404)
      return
    same = self.headers.get('If-Range', server.etag) == server.etag
    if asked and server.ranges and same:
      start = int(asked.removeprefix('bytes=').rstrip('-'))
    body = server.content[start:]
    if start and not body:
      self.send_error(416)
      return
    self.send_response(206 if start else 200)
    self.send_header('Content-Type', server.kind)
    said = len(server.content) if server.length is None else server.length
    self.send_header('Content-Length', str(said - start))
    if server.etag:
      self.send_header('ETag', server.etag)
    if start:
      self.send_header('Content-Range', f'bytes {start}-{said - 1}/{said}')
    self.end_headers()
    if server.pause:
      server.pause()
    cut = server.cuts.pop(0) if server.cuts else None
    with contextlib.suppress(OSError):  # a client that has left
      self.wfile.write(body[:cut])
    self.close_connection = True

  def log_message(self, *args):
    pass


@contextlib.contextmanager
def serve(content):
  """Serve a file while inside."""
  with FileServer(content) as server:
    threading.Thread(
      target=server.serve_forever, args=(0.01,), daemon=True
    ).start()
    yield server
    server.shutdown()
