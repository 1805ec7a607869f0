"""Public columns of the catalogue as kernels and features: side information that costs no privacy."""
