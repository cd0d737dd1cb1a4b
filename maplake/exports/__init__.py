"""Out of the lake: files for MATLAB, NWB, viewers, Parquet, and smaller lakes."""
