"""Rules for what stands in a file, and what becomes of what breaks them."""

from eca_keras.errors import InputError
from eca_keras.training.data.source import NAMED
from eca_keras.utils.checks import listed

ON_BAD_ANNOTATION = ("fail", "skip")

ID_ONCE = "`id` must be there once"

# Larger coordinates and areas are no numbers of pixels.
LARGEST = 1e9


# Characters of a value that a message shows.
SHOWN = 80


class Broken(ValueError):
    """An entry of a file breaks a rule.

    Args:
        rule: The rule.
        **received: The values that break it, by their names.
    """

    def __init__(self, rule, **received):
        self.rule = rule
        values = (
            f"{k}={v!r}" if k == "file" else f"{k}={v!r:.{SHOWN}}"
            for k, v in received.items()
        )
        super().__init__(f"{rule}. Received: {', '.join(values)}")


def check_bad_annotation(on_bad_annotation):
    """Refuse what is not in `ON_BAD_ANNOTATION`."""
    if on_bad_annotation not in ON_BAD_ANNOTATION:
        raise InputError(
            "`on_bad_annotation` must be one of "
            f"{', '.join(ON_BAD_ANNOTATION)}. "
            f"Received: on_bad_annotation={on_bad_annotation!r}"
        )


class Complaints:
    """What is wrong with one file, by kind.

    Args:
        file: What messages call the file.
        policy: `"fail"`, or `"skip"` to go on.
    """

    def __init__(self, file, policy):
        self._file = file
        self._policy = policy
        self._names = {}

    def add(self, what, name, error):
        """Take down what is left out, or refuse it.

        Args:
            what: `"annotation"` or `"image"`.
            name: Its id, or its place in the file.
            error: `Broken`.
        """
        if self._policy == "fail":
            raise InputError(f"{self._file}: {what} {name}: {error}")
        self.note(what, name, "left out", error.rule)

    def note(self, what, name, fate, rule):
        """Take down what is not as it should be."""
        self._names.setdefault((what, fate, rule), []).append(str(name))

    def notes(self):
        """A sentence for each kind."""
        return tuple(
            f"{self._file}: {len(names)} {what}{'s' * (len(names) > 1)} "
            f"{fate} ({listed(names, NAMED)}): {rule}"
            for (what, fate, rule), names in self._names.items()
        )


def nothing_left(rule, notes):
    """Return the refusal of data of which nothing can be used.

    Args:
        rule: What there is none of.
        notes: Sentences about what was left out, and why.
    """
    return InputError("; ".join((rule, *notes)))


def entry_name(entry, place):
    """What messages call an entry: its id, or its number in the file."""
    if isinstance(entry, dict) and "id" in entry:
        return f"{entry['id']!r:.{SHOWN}}"
    return f"number {place + 1} of the file"


def check_keys(entry, keys):
    """Refuse an entry that lacks some of `keys`."""
    rule = f"it must have the keys {', '.join(keys)}"
    if not isinstance(entry, dict):
        raise Broken(rule, entry=entry)
    missing = [key for key in keys if key not in entry]
    if missing:
        raise Broken(rule, missing=missing)


def check_id(entry, seen):
    """Refuse an id that is no integer or among those `seen`; add it."""
    number = entry["id"]
    if type(number) is not int or abs(number) >= 2**63:
        raise Broken("`id` must be an integer", id=number)
    if number in seen:
        raise Broken(ID_ONCE, id=number)
    seen.add(number)
    return number


def is_number(value):
    """Whether it is a number of pixels, up to `LARGEST`."""
    return type(value) in (int, float) and -LARGEST < value < LARGEST
