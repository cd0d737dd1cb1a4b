"""Questions to the lake: the catalog of views and macros, Python access, checks."""
