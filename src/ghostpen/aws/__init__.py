"""What ghostpen does with AWS. Knows no model: the command line joins the two."""
