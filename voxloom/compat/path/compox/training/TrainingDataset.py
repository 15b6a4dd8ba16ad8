from voxloom.runner.training import TrainingDataset as TrainingDataset
