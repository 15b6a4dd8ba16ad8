from voxloom.runner.traininghandler import TrainingHandler as TrainingHandler
