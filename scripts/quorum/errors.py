"""The one exception for input that a person has to mend."""


class InputError(Exception):
    """Bad input, told in one sentence: what happened, what was expected, how to mend it.

    Parameters
    ----------
    what : str
        What happened, naming the file, key or row.
    expected : str
        What was expected instead.
    mend : str
        What the person can do about it.
    """

    def __init__(self, what: str, expected: str, mend: str):
        self.what, self.expected, self.mend = what, expected, mend
        super().__init__(f"{what}; expected {expected}; to mend it, {mend}.")

    def __reduce__(self):
        """Return what makes the same error again, in another process."""
        return InputError, (self.what, self.expected, self.mend)
