"""The test cluster's configuration files, with places for what differs: {root}, {ports}, names and addresses. Reactions are quick, no cgroups."""

SLURM_CONF = """ClusterName=testcluster
SlurmctldHost={host}({address})
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# cred_expire is also how long a requeued job waits before it may start again (120 s by default, and where less than 5 is asked)
AuthInfo=socket={root}/munge/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/run/slurmctld.pid
SlurmdPidFile={root}/spool/%n/slurmd.pid
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
# the cores claimed need not exist
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=200000
# quick reactions; the defaults are minutes
SlurmctldTimeout=10
SlurmdTimeout=5
InactiveLimit=0
MinJobAge=300
KillWait=3
CompleteWait=0
ReturnToService=2
JobRequeue=1
FirstJobId={first_job_id}
EnforcePartLimits=ALL
MessageTimeout=10
TCPTimeout=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[2]}
AccountingStoragePass={root}/munge/munge.socket
AccountingStorageTRES=gres/gpu
NodeName=DEFAULT CPUs=2 Boards=1 SocketsPerBoard=1 CoresPerSocket=2 ThreadsPerCore=1 RealMemory=4000 Gres=gpu:2 State=UNKNOWN
"""

PARTITIONS = """
PartitionName=main Nodes={everyone} Default=YES MaxTime=24:00:00 State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=30
PartitionName=high Nodes={everyone} Default=NO MaxTime=24:00:00 State=UP PriorityTier=10 PreemptMode=OFF
"""

SLURMDBD_CONF = """AuthType=auth/munge
AuthInfo=socket={root}/munge/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={ports[2]}
SlurmUser=root
LogFile={root}/log/slurmdbd.log
PidFile={root}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[1]}
StorageUser=slurm
StoragePass=unused
StorageLoc=slurm_acct
"""
