"""The project's own errors; everything else is a ValueError or an OSError.

Exception
├── ManifestError     a folder of shards is missing, unfinished or damaged
├── ShardError        one shard cannot be computed; names the shard
├── RetryableError    trying again may help (a lost worker, a busy resource)
└── CheckpointError   no usable checkpoint where one is demanded
"""


class ManifestError(Exception):
    """An input folder is missing, unfinished or damaged; the message names the mending command."""


class ShardError(Exception):
    """One shard stops the stage; the message names it."""


class RetryableError(Exception):
    """The same call may succeed when it is made again."""


class CheckpointError(Exception):
    """No checkpoint can be used where one is needed."""
