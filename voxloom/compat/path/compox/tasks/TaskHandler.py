from voxloom.runner.exceptions import TaskStoppedException as TaskStoppedException
from voxloom.runner.handler import TaskHandler as TaskHandler
