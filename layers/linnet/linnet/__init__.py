"""Linnet: what all handlers share. Arrows: functions -> data, events, decisions, gateways, monitoring; decisions -> events."""
