from voxloom.compat.debugging import LocalDebugSession as LocalDebugSession
