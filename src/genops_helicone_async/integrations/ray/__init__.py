"""Bulk jobs and Ray Data pipelines over Ray: `pip install 'genops-helicone-async[ray,redis]'`."""

from .cluster import cluster
from .crew import WorkersLostError
from .data import HeliconeBatches
from .executor import RayRows, RayStatistics
from .plan import WorkerPlan

__all__ = ["HeliconeBatches", "RayRows", "RayStatistics", "WorkerPlan", "WorkersLostError", "cluster"]
