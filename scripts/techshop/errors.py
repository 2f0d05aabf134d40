"""How a step fails: what went wrong, the lines that matter, and what to do next."""


class Failure(Exception):
    """A step that failed in a way the user can act on.

    Args:
        what: one sentence saying what went wrong.
        advice: one sentence saying what to do next.
        tail: the last lines of output that matter, or "".
    """

    def __init__(self, what: str, advice: str = "", tail: str = "") -> None:
        """Keep the three parts for the command line to print."""
        super().__init__("\n".join(part for part in (what, tail, advice) if part))
        self.what = what
        self.advice = advice
        self.tail = tail
