"""The command line of maplake: thin commands over the library.

Importing this must stay cheap (``maplake --help``): commands import what they need when they run.
"""
