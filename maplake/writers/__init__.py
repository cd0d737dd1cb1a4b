"""From records to files: Parquet, Zarr, and the commit that makes them visible."""
