# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# 200 epochs of Adam at 1e-4, halved after 100, as MTAN and MTPSL publish it. The last epoch is judged; they take the
# best one on the test images.
max_epochs = 200
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
param_scheduler = [dict(type='StepLR', step_size=100, gamma=0.5)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=max_epochs)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
