from voxloom.compat.deployer import AlgorithmDeployer as AlgorithmDeployer
