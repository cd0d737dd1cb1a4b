"""Figures: functions that take a lake and a key and return matplotlib axes."""
