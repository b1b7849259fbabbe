"""report.html: what a test found, as one page for people that asks no network for anything.

Owns how the page looks and reads. Computes no number that report.json claims.
"""
