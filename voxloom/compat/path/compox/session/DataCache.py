from voxloom.runner.sessions import DataCache as DataCache
