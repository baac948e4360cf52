"""How notebooks are executed, for `jupyter nbconvert --config`.

    pip install '.[notebooks]'
    jupyter nbconvert --config examples/nbconvert_config.py examples/*.ipynb

runs them in place; nothing is kept that differs between two runs but results.
"""

c = get_config()  # noqa: F821 (traitlets provides it)

c.NbConvertApp.export_format = "notebook"
c.NbConvertApp.use_output_suffix = False  # in place
c.FilesWriter.build_directory = ""  # beside the source

c.ExecutePreprocessor.enabled = True
c.ExecutePreprocessor.timeout = 3600  # seconds a cell; machines are busy
c.ExecutePreprocessor.kernel_name = "python3"
# What TensorFlow's C++ writes at start stays out of the outputs.
c.ExecutePreprocessor.extra_arguments = [
    "--IPKernelApp.capture_fd_output=False"
]
c.ExecutePreprocessor.record_timing = False
# After the execution: what a cell prints is one output.
c.NotebookExporter.preprocessors = [
    "nbconvert.preprocessors.CoalesceStreamsPreprocessor"
]

# The version of Python is the machine's, not the notebook's.
c.ClearMetadataPreprocessor.enabled = True
c.ClearMetadataPreprocessor.preserve_nb_metadata_mask = {
    "kernelspec",
    ("language_info", "name"),
}
