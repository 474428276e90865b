"""Scheduler: start due campaigns, plan recipients, choose work and repair what killed workers left."""
