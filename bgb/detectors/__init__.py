"""Detectors: the frontend, one file per architecture, and `build_detector`."""

from bgb.detectors.detector import Detector, build_detector, check_importable
from bgb.detectors.frontend import Frontend

__all__ = ["Detector", "Frontend", "build_detector", "check_importable"]
