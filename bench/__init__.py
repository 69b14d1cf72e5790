"""Benchmarks: what gausscert costs against its bare parts, as ratios within one run (design section 11)."""
