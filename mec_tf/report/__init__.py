"""What a compression did, for people: a page, and TensorBoard."""

from mec_tf.report.markdown import to_markdown
from mec_tf.report.page import write_html
from mec_tf.report.projector import write_projector
from mec_tf.report.tensorboard import write_summary, write_tensorboard

__all__ = [
    "to_markdown",
    "write_html",
    "write_projector",
    "write_summary",
    "write_tensorboard",
]
