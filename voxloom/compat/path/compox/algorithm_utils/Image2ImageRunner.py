from voxloom.runner.family import Image2ImageRunner as Image2ImageRunner
