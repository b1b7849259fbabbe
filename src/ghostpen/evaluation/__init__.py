"""Judging an adapter on texts it has never seen: against its base model and against a control adapter."""
