from voxloom.runner.training import SampleManifest as SampleManifest
