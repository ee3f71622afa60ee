/* SPDX-License-Identifier: GPL-2.0-only */
/* What drivers of later kernels use that 6.12 does not have. */
#ifndef VIOLA_NEWER_H
#define VIOLA_NEWER_H

/* Macros only, as this file comes before a driver's own includes. */
#define kzalloc_obj(object)	kzalloc(sizeof(object), GFP_KERNEL)
#define VIRTIO_ID_SPI		45

#endif
