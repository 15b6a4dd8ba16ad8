from voxloom.compat.absent import refuse

raise refuse(__name__)
