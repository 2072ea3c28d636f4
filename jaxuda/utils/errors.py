"""The one error that users see: a sentence, not a traceback."""


class UserError(ValueError):
  """Bad input: the message says what is wrong, where, and how to fix it."""
