from voxloom.runner.context import current_handler as current_task_handler

__all__ = ["current_task_handler"]
