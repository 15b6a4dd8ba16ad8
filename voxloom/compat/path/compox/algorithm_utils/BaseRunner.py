from voxloom.runner.base import BaseRunner as BaseRunner
