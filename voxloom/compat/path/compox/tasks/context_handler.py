from voxloom.runner.context import current_handler as current_handler
