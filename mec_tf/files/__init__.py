"""How files are written whole, and refused where they are not."""

from mec_tf.files.artifact_error import ArtifactError
from mec_tf.files.checked_file import CheckedFile
from mec_tf.files.full_disk import naming_full_disk
from mec_tf.files.writing import replacing, swap, sync, sync_tree, write_text

__all__ = [
    "ArtifactError",
    "CheckedFile",
    "naming_full_disk",
    "replacing",
    "swap",
    "sync",
    "sync_tree",
    "write_text",
]
