from voxloom.runner.training import TrainingSample as TrainingSample
