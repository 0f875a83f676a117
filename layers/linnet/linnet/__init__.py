"""Linnet: what all handlers share. Arrows: functions -> events, decisions, gateways, monitoring; decisions -> events."""
