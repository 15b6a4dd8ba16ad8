from voxloom.runner.tempstore import TempStore as TempStore
