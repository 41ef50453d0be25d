"""Every error that bgb raises on purpose. Each message names the thing, its value, what is valid
and the next step; catching `BgbError` catches them all."""


class BgbError(Exception):
    """Base of all errors that a user can mend."""


class ConfigError(BgbError):
    """The configuration is wrong: unknown key, wrong value, impossible pair."""


class EdfError(BgbError):
    """An EDF file that cannot be read without guessing."""


class ChannelError(BgbError):
    """Channels that are missing, ambiguous or unfit for the montage."""


class AnnotationError(BgbError):
    """A label file that is missing, malformed or uses an unknown label."""


class CorpusError(BgbError):
    """A corpus whose layout, splits or counts are not what they must be."""


class CacheError(BgbError):
    """A cache that is missing, incomplete, foreign or damaged."""


class RunError(BgbError):
    """A run folder that is missing, locked or does not fit the command."""


class InfraError(BgbError):
    """Rented machines: credentials, image, volume, secret, price or a job that cannot be sent."""
