from voxloom.runner.sessions import TaskSession as TaskSession
