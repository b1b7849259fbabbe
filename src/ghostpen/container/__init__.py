"""`ghostpen run`: pull from S3, train or test in a process of its own, push to S3. Knows no model."""
