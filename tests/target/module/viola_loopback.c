// SPDX-License-Identifier: GPL-2.0-only
/*
 * viola's test driver: the ABI of AGL's virtio-loopback driver, for the emulated machine.
 *
 * A node (/dev/loopback, or /dev/loopback-<major>) is one virtio device whose registers, those of virtio-mmio, are
 * served by the process that opened the node. A register access is put into a page that both share, an eventfd is rung,
 * and the answer is waited for. The process raises interrupts by an ioctl and reaches the rings by mmap.
 *
 * What AGL's driver does wrong, this one does too, as far as a correct server can notice it: a parameter each,
 * but for the one access in flight: the one page makes it so. What would
 * corrupt the kernel's memory there is refused here, reported as an "offence" and counted in debugfs:
 *
 *	/sys/kernel/debug/viola-loopback/<node>/offences	one line per kind: name, count
 *	/sys/kernel/debug/viola-loopback/<node>/stats		register accesses and their waiting time; written to: reset
 *
 * One register access is in flight per node at a time, as there is one page.
 *
 * Locks: `lock` guards what user space sets up, is taken inside the mmap lock, and is never held over a register access.
 * `access` is held over one, `queues` while virtqueues are made, freed or looked at. Spin locks are innermost.
 */
#define pr_fmt(fmt) "viola-loopback: " fmt

#include <linux/cdev.h>
#include <linux/debugfs.h>
#include <linux/device.h>
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

/* ---- parameters ---- */

static uint multi_sound;
module_param(multi_sound, uint, 0444);
MODULE_PARM_DESC(multi_sound, "0: epsilon's node, /dev/loopback; 1 to 4: so many nodes /dev/loopback-<major>");

static bool dead_after_release = true;
module_param(dead_after_release, bool, 0644);
MODULE_PARM_DESC(dead_after_release, "the first release of a node ends it until the module is loaded anew");

static bool windows_count_on = true;
module_param(windows_count_on, bool, 0644);
MODULE_PARM_DESC(windows_count_on, "the window counter is wound back by open only, not when all windows are unmapped");

static bool queues_count_on = true;
module_param(queues_count_on, bool, 0644);
MODULE_PARM_DESC(queues_count_on, "queue positions for SHARE_VQS are not wound back by a reset");

static uint relook_ms = 1000;
module_param(relook_ms, uint, 0644);
MODULE_PARM_DESC(relook_ms, "who waits for an answer looks again by itself so often; 0: never");

/* ---- the ABI ---- */

struct efd_init {
	s32 efd[2];
	s32 pid;
};

struct identity {
	u64 magic;
	u64 version;
	u64 device_id;
	u64 vendor;
};

#define EFD_INIT		_IOC(_IOC_WRITE, 'k', 1, sizeof(struct efd_init))
#define WAKEUP			_IOC(_IOC_WRITE, 'k', 2, 0)
#define START_LOOPBACK		_IOC(_IOC_WRITE, 'k', 3, sizeof(struct identity))
#define IRQ			_IOC(_IOC_WRITE, 'k', 4, sizeof(s32))
#define SHARE_VQS		_IOC(_IOC_WRITE, 'k', 5, sizeof(u32))
#define SHARE_BUF		_IOC(_IOC_WRITE, 'k', 6, sizeof(u64))
#define SHARE_COM_STRUCT	_IOC(_IOC_WRITE, 'k', 7, 0)

/* The page through which register accesses travel. */
struct shared_page {
	u64 notification;
	u64 data;
	u64 size;
	u8 read;
	s32 done;
};
static_assert(offsetof(struct shared_page, read) == 24 && offsetof(struct shared_page, done) == 28);

#define MAGIC			0x74726976
#define LEGACY_ALIGN		4096
#define MAX_NODES		4
#define MAX_QUEUES		64
#define MAX_POSITIONS		16	/* AGL's array of queues, unchecked there */
#define WINDOW_TABLE		24	/* the position that lies in AGL's table of windows */
#define MAX_MAPPINGS		200	/* AGL's table of mappings, unchecked there */
#define WINDOW_PAGES		100	/* a mapping of more pages than these is a window */
#define WINDOW_MOST		SZ_2G
#define WINDOW_STEP		SZ_1G
#define FILE_SIZE		SZ_2G	/* as AGL's driver reports it */

/* Waiting times are counted in steps of 10 us; the last one holds all that is longer. */
#define STEP_NS			10000
#define STEPS			2000

enum offence {
	OFFENCE_RELEASE, OFFENCE_REOPEN, OFFENCE_START, OFFENCE_WAKEUP, OFFENCE_IRQ, OFFENCE_WINDOW, OFFENCE_MAPPINGS,
	OFFENCE_INHERITED, OFFENCE_ENTRY, OFFENCE_QUEUES, OFFENCE_SHARE, OFFENCE_REGISTER, OFFENCES,
};

static const char *const offence_names[OFFENCES] = {
	[OFFENCE_RELEASE] = "release",		/* a node was released: the end of it */
	[OFFENCE_REOPEN] = "reopen",		/* and opened again */
	[OFFENCE_START] = "start",		/* START_LOOPBACK a second time */
	[OFFENCE_WAKEUP] = "wakeup",		/* WAKEUP that answers no access: it would answer the next one */
	[OFFENCE_IRQ] = "irq",			/* IRQ from the thread that serves accesses: it would never return */
	[OFFENCE_WINDOW] = "window",		/* a page of a window was touched where no memory is */
	[OFFENCE_MAPPINGS] = "mappings",	/* more mappings than AGL's table has room for */
	[OFFENCE_INHERITED] = "inherited",	/* a mapping was copied by a fork: the copy's end takes the entry away */
	[OFFENCE_ENTRY] = "entry",		/* a page was touched whose mapping has no entry any more */
	[OFFENCE_QUEUES] = "queues",		/* more queues than AGL's array has room for */
	[OFFENCE_SHARE] = "share",		/* memory was asked for that is no queue's, or no memory */
	[OFFENCE_REGISTER] = "register",	/* a register answered what the standard forbids */
};

enum selection { SELECTED_NOTHING, SELECTED_PAGE, SELECTED_MEMORY };

struct ring {
	phys_addr_t base;
	size_t size;
};

struct node {
	char name[32];
	dev_t number;
	struct cdev cdev;
	struct device *device;
	struct dentry *debugfs;
	unsigned long opened;
	bool used;			/* was open before */
	bool dead;			/* nobody waits for answers any more */

	struct mutex lock;
	enum selection selected;	/* what the next mapping maps */
	struct ring chosen;		/* SELECTED_MEMORY */
	unsigned int windows, windows_mapped, mappings;
	unsigned long entries[MAX_MAPPINGS];	/* where each mapping starts; 0: there is none any more */
	struct ring rings[MAX_POSITIONS];
	unsigned int positions;
	bool started;
	struct identity identity;

	spinlock_t doorbell_lock;
	struct eventfd_ctx *doorbell;

	struct mutex access;
	struct shared_page *page;
	wait_queue_head_t answered;
	bool waiting;			/* an access is in the page */
	pid_t server;			/* the thread that answered last */

	struct workqueue_struct *works;
	struct work_struct start;
	struct work_struct notify;
	DECLARE_BITMAP(kicked, MAX_QUEUES);

	struct mutex queues;
	struct device_of *bus;		/* the virtio device, once it is registered */

	atomic_t offences[OFFENCES];
	spinlock_t stats_lock;
	u64 accesses, waited_ns, longest_ns, interrupts, unanswered;
	u32 waits[STEPS];
};

/* The virtio device: it may outlive its registration while somebody holds a reference. */
struct device_of {
	struct virtio_device vdev;
	struct node *node;
	u32 version;
};

static struct node nodes[MAX_NODES];
static unsigned int node_count;
static struct dentry *debugfs_root;
static const struct class node_class = { .name = "viola-loopback" };

static struct device_of *device_of(struct virtio_device *vdev)
{
	return container_of(vdev, struct device_of, vdev);
}

#define report(node, kind, fmt, ...) do {							\
	atomic_inc(&(node)->offences[kind]);							\
	pr_warn_ratelimited("offence %s on %s: " fmt "\n", offence_names[kind], (node)->name, ##__VA_ARGS__); \
} while (0)

/* ---- register accesses ---- */

static void count_wait(struct node *node, u64 ns)
{
	spin_lock(&node->stats_lock);
	node->accesses++;
	node->waited_ns += ns;
	node->longest_ns = max(node->longest_ns, ns);
	node->waits[min_t(u64, div_u64(ns, STEP_NS), STEPS - 1)]++;
	spin_unlock(&node->stats_lock);
}

static void ring_doorbell(struct node *node)
{
	spin_lock(&node->doorbell_lock);
	if (node->doorbell)
		eventfd_signal(node->doorbell);
	spin_unlock(&node->doorbell_lock);
}

static bool is_answered(struct node *node)
{
	/* Acquire: the answer is read after the word that says it is there. */
	return smp_load_acquire(&node->page->done) || READ_ONCE(node->dead);
}

/* Waits for ever, unless whoever asks is being killed and one look again brought nothing. */
static void await_answer(struct node *node)
{
	unsigned int ms = READ_ONCE(relook_ms);
	long timeout = ms ? msecs_to_jiffies(ms) : MAX_SCHEDULE_TIMEOUT;

	while (!wait_event_timeout(node->answered, is_answered(node), timeout))
		if (fatal_signal_pending(current))
			break;
}

static u32 access_register(struct node *node, u32 offset, u32 size, bool read, u32 value)
{
	struct shared_page *page = node->page;
	u32 answer = 0;
	u64 since;

	might_sleep();
	mutex_lock(&node->access);
	if (READ_ONCE(node->dead)) {
		node->unanswered++;
		goto out;
	}
	page->notification = offset;
	page->data = value;
	page->size = size;
	page->read = read;
	WRITE_ONCE(node->waiting, true);
	/* Release: whoever sees the access waiting sees which it is. */
	smp_store_release(&page->done, 0);
	since = ktime_get_ns();
	ring_doorbell(node);
	await_answer(node);
	WRITE_ONCE(node->waiting, false);
	answer = READ_ONCE(page->data);
	if (!is_answered(node) || READ_ONCE(node->dead)) {
		WRITE_ONCE(page->done, 1);
		node->unanswered++;
		answer = 0;
	}
	count_wait(node, ktime_get_ns() - since);
out:
	mutex_unlock(&node->access);
	return size == 4 ? answer : answer & (BIT(8 * size) - 1);
}

static u32 get32(struct node *node, u32 offset)
{
	return access_register(node, offset, 4, true, 0);
}

static void set32(struct node *node, u32 offset, u32 value)
{
	access_register(node, offset, 4, false, value);
}

static void set64(struct node *node, u32 low, u64 value)
{
	set32(node, low, lower_32_bits(value));
	set32(node, low + 4, upper_32_bits(value));
}

/* ---- virtio-mmio, versions 1 and 2 ---- */

/* How many bytes of the config space go in one access. Version 1 knows bytes only. */
static unsigned int config_step(struct virtio_device *vdev, unsigned int len)
{
	if (device_of(vdev)->version == 1)
		return 1;
	return len == 2 || len == 4 ? len : len == 8 ? 4 : 1;
}

static void config_get(struct virtio_device *vdev, unsigned int offset, void *buf, unsigned int len)
{
	unsigned int step = config_step(vdev, len), i;
	__le32 value;

	for (i = 0; i < len; i += step) {
		value = cpu_to_le32(access_register(device_of(vdev)->node, VIRTIO_MMIO_CONFIG + offset + i, step, true, 0));
		memcpy(buf + i, &value, step);
	}
}

static void config_set(struct virtio_device *vdev, unsigned int offset, const void *buf, unsigned int len)
{
	unsigned int step = config_step(vdev, len), i;

	for (i = 0; i < len; i += step) {
		__le32 value = 0;

		memcpy(&value, buf + i, step);
		access_register(device_of(vdev)->node, VIRTIO_MMIO_CONFIG + offset + i, step, false, le32_to_cpu(value));
	}
}

static u32 config_generation(struct virtio_device *vdev)
{
	return device_of(vdev)->version == 1 ? 0 : get32(device_of(vdev)->node, VIRTIO_MMIO_CONFIG_GENERATION);
}

static u8 get_status(struct virtio_device *vdev)
{
	return get32(device_of(vdev)->node, VIRTIO_MMIO_STATUS);
}

static void set_status(struct virtio_device *vdev, u8 status)
{
	set32(device_of(vdev)->node, VIRTIO_MMIO_STATUS, status);
}

static void reset_device(struct virtio_device *vdev)
{
	struct node *node = device_of(vdev)->node;

	set32(node, VIRTIO_MMIO_STATUS, 0);
	mutex_lock(&node->lock);
	if (!queues_count_on)
		node->positions = 0;
	mutex_unlock(&node->lock);
}

static u64 get_features(struct virtio_device *vdev)
{
	struct node *node = device_of(vdev)->node;
	u64 features;

	set32(node, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	features = (u64)get32(node, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
	set32(node, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	return features | get32(node, VIRTIO_MMIO_DEVICE_FEATURES);
}

static int finalize_features(struct virtio_device *vdev)
{
	struct node *node = device_of(vdev)->node;

	vring_transport_features(vdev);
	if (device_of(vdev)->version == 2 && !__virtio_test_bit(vdev, VIRTIO_F_VERSION_1)) {
		dev_err(&vdev->dev, "version 2 of the registers, but no VIRTIO_F_VERSION_1\n");
		return -EINVAL;
	}
	set32(node, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	set32(node, VIRTIO_MMIO_DRIVER_FEATURES, upper_32_bits(vdev->features));
	set32(node, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	set32(node, VIRTIO_MMIO_DRIVER_FEATURES, lower_32_bits(vdev->features));
	return 0;
}

static const char *bus_name(struct virtio_device *vdev)
{
	return device_of(vdev)->node->name;
}

static void notify_work(struct work_struct *work)
{
	struct node *node = container_of(work, struct node, notify);
	unsigned int queue;

	for_each_set_bit(queue, node->kicked, MAX_QUEUES)
		if (test_and_clear_bit(queue, node->kicked))
			set32(node, VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

/* May be called where nothing may sleep. */
static bool notify_device(struct virtqueue *vq)
{
	struct node *node = device_of(vq->vdev)->node;

	set_bit(vq->index, node->kicked);
	queue_work(node->works, &node->notify);
	return true;
}

static u32 queue_in_use(struct device_of *device)
{
	return get32(device->node, device->version == 1 ? VIRTIO_MMIO_QUEUE_PFN : VIRTIO_MMIO_QUEUE_READY);
}

/* Remembers a ring of version 1 for SHARE_VQS, under the next position. */
static void take_position(struct node *node, struct virtqueue *vq)
{
	mutex_lock(&node->lock);
	if (node->positions < MAX_POSITIONS) {
		node->rings[node->positions].base = virtqueue_get_desc_addr(vq);
		node->rings[node->positions].size = PAGE_ALIGN(vring_size(virtqueue_get_vring_size(vq), LEGACY_ALIGN));
	} else {
		report(node, OFFENCE_QUEUES, "queue %u is the %u-th since the start, of %u%s", vq->index,
		       node->positions + 1, MAX_POSITIONS,
		       node->positions < WINDOW_TABLE ? "" : ": the table of windows is overwritten there");
	}
	node->positions++;
	mutex_unlock(&node->lock);
}

static void forget_position(struct node *node, phys_addr_t base)
{
	unsigned int i;

	mutex_lock(&node->lock);
	for (i = 0; i < MAX_POSITIONS; i++)
		if (node->rings[i].base == base)
			node->rings[i].size = 0;
	mutex_unlock(&node->lock);
}

static int tell_ring_v1(struct node *node, struct virtqueue *vq)
{
	u64 pfn = virtqueue_get_desc_addr(vq) >> 12;

	if (pfn >> 32)
		return -E2BIG;
	set32(node, VIRTIO_MMIO_QUEUE_NUM, virtqueue_get_vring_size(vq));
	set32(node, VIRTIO_MMIO_QUEUE_ALIGN, LEGACY_ALIGN);
	set32(node, VIRTIO_MMIO_QUEUE_PFN, pfn);
	take_position(node, vq);
	return 0;
}

static void tell_ring_v2(struct node *node, struct virtqueue *vq)
{
	set32(node, VIRTIO_MMIO_QUEUE_NUM, virtqueue_get_vring_size(vq));
	set64(node, VIRTIO_MMIO_QUEUE_DESC_LOW, virtqueue_get_desc_addr(vq));
	set64(node, VIRTIO_MMIO_QUEUE_AVAIL_LOW, virtqueue_get_avail_addr(vq));
	set64(node, VIRTIO_MMIO_QUEUE_USED_LOW, virtqueue_get_used_addr(vq));
	set32(node, VIRTIO_MMIO_QUEUE_READY, 1);
}

static void free_queue(struct node *node, struct virtqueue *vq)
{
	mutex_lock(&node->queues);
	vring_del_virtqueue(vq);
	mutex_unlock(&node->queues);
}

static struct virtqueue *set_up_queue(struct device_of *device, unsigned int index, struct virtqueue_info *info)
{
	struct node *node = device->node;
	struct virtqueue *vq;
	unsigned int most;

	if (index >= MAX_QUEUES)
		return ERR_PTR(-ENOENT);
	set32(node, VIRTIO_MMIO_QUEUE_SEL, index);
	if (queue_in_use(device)) {
		report(node, OFFENCE_REGISTER, "queue %u is in use before it is set up", index);
		return ERR_PTR(-ENOENT);
	}
	most = get32(node, VIRTIO_MMIO_QUEUE_NUM_MAX);
	if (!is_power_of_2(most) || most > 32768)
		return ERR_PTR(-ENOENT);
	mutex_lock(&node->queues);
	vq = vring_create_virtqueue(index, most, LEGACY_ALIGN, &device->vdev, true, true, info->ctx,
				    notify_device, info->callback, info->name);
	mutex_unlock(&node->queues);
	if (!vq)
		return ERR_PTR(-ENOMEM);
	vq->num_max = most;
	if (device->version == 2) {
		tell_ring_v2(node, vq);
	} else if (tell_ring_v1(node, vq)) {
		free_queue(node, vq);
		return ERR_PTR(-E2BIG);
	}
	return vq;
}

static void tear_down_queue(struct device_of *device, struct virtqueue *vq)
{
	struct node *node = device->node;

	set32(node, VIRTIO_MMIO_QUEUE_SEL, vq->index);
	set32(node, device->version == 1 ? VIRTIO_MMIO_QUEUE_PFN : VIRTIO_MMIO_QUEUE_READY, 0);
	if (device->version == 1)
		forget_position(node, virtqueue_get_desc_addr(vq));
	else if (queue_in_use(device))
		report(node, OFFENCE_REGISTER, "queue %u is in use after it was torn down", vq->index);
	free_queue(node, vq);
}

static void del_vqs(struct virtio_device *vdev)
{
	struct node *node = device_of(vdev)->node;
	struct virtqueue *vq, *next;

	cancel_work_sync(&node->notify);
	bitmap_zero(node->kicked, MAX_QUEUES);
	list_for_each_entry_safe(vq, next, &vdev->vqs, list)
		tear_down_queue(device_of(vdev), vq);
}

static int find_vqs(struct virtio_device *vdev, unsigned int count, struct virtqueue *vqs[],
		    struct virtqueue_info infos[], struct irq_affinity *affinity)
{
	unsigned int i, index = 0;

	for (i = 0; i < count; i++) {
		vqs[i] = NULL;
		if (!infos[i].name)
			continue;
		vqs[i] = set_up_queue(device_of(vdev), index++, &infos[i]);
		if (IS_ERR(vqs[i])) {
			int error = PTR_ERR(vqs[i]);

			del_vqs(vdev);
			return error;
		}
	}
	return 0;
}

static const struct virtio_config_ops config_ops = {
	.get = config_get,
	.set = config_set,
	.generation = config_generation,
	.get_status = get_status,
	.set_status = set_status,
	.reset = reset_device,
	.find_vqs = find_vqs,
	.del_vqs = del_vqs,
	.get_features = get_features,
	.finalize_features = finalize_features,
	.bus_name = bus_name,
};

/* The interrupt handler, in the context of the ioctl's caller. Callbacks expect interrupts to be off. */
static int interrupt(struct node *node)
{
	u32 status = get32(node, VIRTIO_MMIO_INTERRUPT_STATUS);
	struct virtio_device *vdev;
	struct virtqueue *vq;
	unsigned long flags;

	set32(node, VIRTIO_MMIO_INTERRUPT_ACK, status);
	mutex_lock(&node->queues);
	node->interrupts++;
	vdev = node->bus ? &node->bus->vdev : NULL;
	if (vdev && status & VIRTIO_MMIO_INT_VRING) {
		local_irq_save(flags);
		virtio_device_for_each_vq(vdev, vq)
			vring_interrupt(0, vq);
		local_irq_restore(flags);
	}
	if (vdev && status & VIRTIO_MMIO_INT_CONFIG && !list_empty(&vdev->vqs))
		virtio_config_changed(vdev);
	mutex_unlock(&node->queues);
	return 0;
}

/* From here on interrupts find the device, or no longer. */
static void set_bus(struct node *node, struct device_of *device)
{
	mutex_lock(&node->queues);
	node->bus = device;
	mutex_unlock(&node->queues);
}

static void release_device(struct device *dev)
{
	kfree(device_of(dev_to_virtio(dev)));
}

static bool check_identity(struct node *node, struct device_of *device)
{
	u32 magic = get32(node, VIRTIO_MMIO_MAGIC_VALUE);

	device->version = get32(node, VIRTIO_MMIO_VERSION);
	device->vdev.id.device = get32(node, VIRTIO_MMIO_DEVICE_ID);
	device->vdev.id.vendor = get32(node, VIRTIO_MMIO_VENDOR_ID);
	if (magic == MAGIC && device->version == node->identity.version &&
	    device->vdev.id.device == node->identity.device_id)
		return true;
	pr_err("%s: registers say magic 0x%x, version %u, device %u, START_LOOPBACK said version %llu, device %llu\n",
	       node->name, magic, device->version, device->vdev.id.device, node->identity.version,
	       node->identity.device_id);
	return false;
}

static void start_work(struct work_struct *work)
{
	struct node *node = container_of(work, struct node, start);
	struct device_of *device = kzalloc(sizeof(*device), GFP_KERNEL);
	int error;

	if (!device)
		return;
	device->node = node;
	device->vdev.dev.parent = node->device;
	device->vdev.dev.release = release_device;
	device->vdev.config = &config_ops;
	INIT_LIST_HEAD(&device->vdev.vqs);	/* an interrupt may come before the device is registered */
	if (!check_identity(node, device)) {
		kfree(device);
		return;
	}
	if (device->version == 1)
		set32(node, VIRTIO_MMIO_GUEST_PAGE_SIZE, LEGACY_ALIGN);
	set_bus(node, device);	/* first, for the driver's probe needs interrupts */
	error = register_virtio_device(&device->vdev);
	if (error) {
		pr_err("%s: register_virtio_device: error %d\n", node->name, error);
		set_bus(node, NULL);
		put_device(&device->vdev.dev);
	}
}

/* Takes the virtio device away. Nobody waits for answers from here on, so it cannot hang. */
static void withdraw(struct node *node)
{
	WRITE_ONCE(node->dead, true);
	wake_up_all(&node->answered);
	flush_work(&node->start);
	if (node->bus) {
		/* Interrupts come from ioctls, and the node is closed. */
		unregister_virtio_device(&node->bus->vdev);
		node->bus = NULL;
	}
	cancel_work_sync(&node->notify);
}

/* ---- mmap ---- */

static bool is_memory(phys_addr_t base, size_t size)
{
	unsigned long pfn = PHYS_PFN(base), end = pfn + PFN_UP(size);

	if (end <= pfn)
		return false;
	for (; pfn < end; pfn++)
		if (!page_is_ram(pfn))
			return false;
	return true;
}

static int find_entry(struct node *node, unsigned long start)
{
	unsigned int i;

	for (i = 0; i < MAX_MAPPINGS; i++)
		if (node->entries[i] == start)
			return i;
	return -ENOENT;
}

/* A copy by fork belongs to another process. Splitting and moving a mapping come here too, and stay within theirs. */
static void mapping_open(struct vm_area_struct *vma)
{
	struct node *node = vma->vm_private_data;

	if (vma->vm_mm != current->mm)
		report(node, OFFENCE_INHERITED, "the mapping at 0x%lx was copied by a fork", vma->vm_start);
}

/* As AGL's driver does: whichever copy ends, the entry that says the same address goes with it. */
static void mapping_close(struct vm_area_struct *vma)
{
	struct node *node = vma->vm_private_data;
	int entry;

	mutex_lock(&node->lock);
	entry = find_entry(node, vma->vm_start);
	if (entry >= 0)
		node->entries[entry] = 0;
	mutex_unlock(&node->lock);
}

/* What is mapped is all there from the start. */
static const struct vm_operations_struct mapping_ops = {
	.open = mapping_open,
	.close = mapping_close,
};

static vm_fault_t window_fault(struct vm_fault *vmf)
{
	struct node *node = vmf->vma->vm_private_data;
	int entry;

	mutex_lock(&node->lock);
	entry = find_entry(node, vmf->vma->vm_start);
	mutex_unlock(&node->lock);
	if (entry < 0) {
		report(node, OFFENCE_ENTRY, "no entry for the mapping at 0x%lx: a kernel BUG there", vmf->vma->vm_start);
		return VM_FAULT_SIGBUS;
	}
	if (!page_is_ram(vmf->pgoff)) {
		report(node, OFFENCE_WINDOW, "there is no memory at 0x%lx", vmf->pgoff << PAGE_SHIFT);
		return VM_FAULT_SIGBUS;
	}
	return vmf_insert_pfn(vmf->vma, vmf->address, vmf->pgoff);
}

static void window_open(struct vm_area_struct *vma)
{
	struct node *node = vma->vm_private_data;

	mapping_open(vma);
	mutex_lock(&node->lock);
	node->windows_mapped++;
	mutex_unlock(&node->lock);
}

static void window_close(struct vm_area_struct *vma)
{
	struct node *node = vma->vm_private_data;

	mapping_close(vma);
	mutex_lock(&node->lock);
	if (--node->windows_mapped == 0 && !windows_count_on)
		node->windows = 0;
	mutex_unlock(&node->lock);
}

static const struct vm_operations_struct window_ops = {
	.fault = window_fault,
	.open = window_open,
	.close = window_close,
};

/* The place in physical memory follows from how many windows there were; the offset in the file means nothing. */
static int map_window(struct node *node, struct vm_area_struct *vma, size_t size)
{
	if (size > WINDOW_MOST)
		return -EINVAL;
	vma->vm_pgoff = PHYS_PFN((phys_addr_t)node->windows++ * WINDOW_STEP);
	vma->vm_ops = &window_ops;
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	node->windows_mapped++;
	return 0;
}

static int map_page(struct node *node, struct vm_area_struct *vma, size_t size)
{
	if (size != PAGE_SIZE)
		return -EINVAL;
	vma->vm_ops = &mapping_ops;
	return vm_insert_page(vma, vma->vm_start, virt_to_page(node->page));
}

static int map_memory(struct node *node, struct vm_area_struct *vma, size_t size)
{
	if (size > node->chosen.size)
		return -EINVAL;
	vma->vm_ops = &mapping_ops;
	return remap_pfn_range(vma, vma->vm_start, PHYS_PFN(node->chosen.base), size, vma->vm_page_prot);
}

static int map_selected(struct node *node, struct vm_area_struct *vma, size_t size)
{
	enum selection selected = node->selected;

	if (selected != SELECTED_PAGE && size > WINDOW_PAGES * PAGE_SIZE)
		return map_window(node, vma, size);
	node->selected = SELECTED_NOTHING;
	switch (selected) {
	case SELECTED_PAGE:
		return map_page(node, vma, size);
	case SELECTED_MEMORY:
		return map_memory(node, vma, size);
	default:
		return -EINVAL;
	}
}

/* Each mapping takes an entry, which stays taken when it is gone. */
static int map_and_enter(struct node *node, struct vm_area_struct *vma)
{
	unsigned int entry = node->mappings++;
	int result;

	if (entry >= MAX_MAPPINGS) {
		report(node, OFFENCE_MAPPINGS, "mapping %u since the open", entry + 1);
		return -ENOSPC;
	}
	vma->vm_private_data = node;
	result = map_selected(node, vma, vma->vm_end - vma->vm_start);
	if (!result)
		node->entries[entry] = vma->vm_start;
	return result;
}

static int node_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct node *node = file->private_data;
	int result;

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	mutex_lock(&node->lock);
	result = map_and_enter(node, vma);
	mutex_unlock(&node->lock);
	return result;
}

/* ---- ioctl ---- */

static int efd_init(struct node *node, const struct efd_init *init)
{
	struct eventfd_ctx *doorbell, *previous;

	if (init->pid != task_tgid_vnr(current))
		return -EINVAL;
	doorbell = eventfd_ctx_fdget(init->efd[0]);
	if (IS_ERR(doorbell))
		return PTR_ERR(doorbell);
	spin_lock(&node->doorbell_lock);
	previous = node->doorbell;
	node->doorbell = doorbell;
	spin_unlock(&node->doorbell_lock);
	if (previous)
		eventfd_ctx_put(previous);
	return 0;
}

static int wake_up_access(struct node *node)
{
	WRITE_ONCE(node->server, task_pid_nr(current));
	if (!READ_ONCE(node->waiting) || READ_ONCE(node->page->done))
		report(node, OFFENCE_WAKEUP, "no access waits");
	smp_store_release(&node->page->done, 1);
	wake_up(&node->answered);
	return 0;
}

static int start_loopback(struct node *node, const struct identity *identity)
{
	int result = 0;

	if (identity->magic != MAGIC || identity->version < 1 || identity->version > 2 || !identity->device_id)
		return -EINVAL;
	mutex_lock(&node->lock);
	if (node->started) {
		report(node, OFFENCE_START, "it was started before");
		result = -EBUSY;
	} else if (!node->doorbell) {
		result = -EINVAL;
	} else {
		node->started = true;
		node->identity = *identity;
		queue_work(node->works, &node->start);
	}
	mutex_unlock(&node->lock);
	return result;
}

static int raise_interrupt(struct node *node)
{
	if (READ_ONCE(node->server) == task_pid_nr(current)) {
		report(node, OFFENCE_IRQ, "thread %d serves the accesses that it would wait for", task_pid_nr(current));
		return -EDEADLK;
	}
	return interrupt(node);
}

static int share(struct node *node, enum selection selected, struct ring chosen)
{
	mutex_lock(&node->lock);
	node->selected = selected;
	node->chosen = chosen;
	mutex_unlock(&node->lock);
	return 0;
}

static int share_vqs(struct node *node, u32 position)
{
	struct ring ring = {};

	mutex_lock(&node->lock);
	if (position < min_t(u32, node->positions, MAX_POSITIONS))
		ring = node->rings[position];
	mutex_unlock(&node->lock);
	if (!ring.size) {
		report(node, OFFENCE_SHARE, "no ring has position %u", position);
		return -EINVAL;
	}
	return share(node, SELECTED_MEMORY, ring);
}

static int share_buf(struct node *node, u64 address)
{
	struct ring ring = { .base = address & PAGE_MASK };

	while (ring.size < WINDOW_PAGES * PAGE_SIZE && is_memory(ring.base + ring.size, PAGE_SIZE))
		ring.size += PAGE_SIZE;
	if (!ring.size) {
		report(node, OFFENCE_SHARE, "there is no memory at 0x%llx", address);
		return -EINVAL;
	}
	return share(node, SELECTED_MEMORY, ring);
}

static long node_ioctl(struct file *file, unsigned int request, unsigned long address)
{
	struct node *node = file->private_data;
	union {
		struct efd_init init;
		struct identity identity;
		u32 position;
		u64 buffer;
	} argument = {};

	if (_IOC_SIZE(request) > sizeof(argument))
		return -ENOTTY;
	if (_IOC_SIZE(request) && copy_from_user(&argument, (void __user *)address, _IOC_SIZE(request)))
		return -EFAULT;
	switch (request) {
	case EFD_INIT:
		return efd_init(node, &argument.init);
	case WAKEUP:
		return wake_up_access(node);
	case START_LOOPBACK:
		return start_loopback(node, &argument.identity);
	case IRQ:
		return raise_interrupt(node);
	case SHARE_VQS:
		return share_vqs(node, argument.position);
	case SHARE_BUF:
		return share_buf(node, argument.buffer);
	case SHARE_COM_STRUCT:
		return share(node, SELECTED_PAGE, (struct ring){});
	default:
		return -ENOTTY;
	}
}

/* ---- open and release ---- */

static int node_open(struct inode *inode, struct file *file)
{
	struct node *node = container_of(inode->i_cdev, struct node, cdev);

	if (test_and_set_bit(0, &node->opened))
		return -EBUSY;
	if (node->used && dead_after_release)
		report(node, OFFENCE_REOPEN, "nothing will come of it until the module is loaded anew");
	node->used = true;
	node->windows = 0;
	node->mappings = 0;
	memset(node->entries, 0, sizeof(node->entries));
	i_size_write(inode, FILE_SIZE);
	file->private_data = node;
	return 0;
}

static int node_release(struct inode *inode, struct file *file)
{
	struct node *node = file->private_data;

	if (dead_after_release) {
		report(node, OFFENCE_RELEASE, "this ends it until the module is loaded anew");
		WRITE_ONCE(node->dead, true);
		wake_up_all(&node->answered);
	} else {
		withdraw(node);
		i_size_write(inode, 0);
		node->started = false;
		node->positions = 0;
		WRITE_ONCE(node->dead, false);
	}
	spin_lock(&node->doorbell_lock);
	if (node->doorbell)
		eventfd_ctx_put(node->doorbell);
	node->doorbell = NULL;
	spin_unlock(&node->doorbell_lock);
	node->server = 0;
	clear_bit(0, &node->opened);
	return 0;
}

/* Back-ends look at how long the file is before they map it. */
static loff_t node_llseek(struct file *file, loff_t offset, int whence)
{
	return fixed_size_llseek(file, offset, whence, FILE_SIZE);
}

static const struct file_operations node_ops = {
	.owner = THIS_MODULE,
	.open = node_open,
	.release = node_release,
	.llseek = node_llseek,
	.unlocked_ioctl = node_ioctl,
	.mmap = node_mmap,
};

/* ---- debugfs ---- */

static int offences_show(struct seq_file *file, void *unused)
{
	struct node *node = file->private;
	unsigned int i;

	for (i = 0; i < OFFENCES; i++)
		seq_printf(file, "%s %d\n", offence_names[i], atomic_read(&node->offences[i]));
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(offences);

/* The time within which so many per cent of all accesses were answered, in microseconds, rounded up to a step. */
static u32 percentile(struct node *node, unsigned int per_cent)
{
	u64 left = div_u64(node->accesses * per_cent + 99, 100);
	unsigned int i;

	for (i = 0; i < STEPS - 1 && node->waits[i] < left; i++)
		left -= node->waits[i];
	return (i + 1) * (STEP_NS / 1000);
}

static int stats_show(struct seq_file *file, void *unused)
{
	struct node *node = file->private;

	spin_lock(&node->stats_lock);
	seq_printf(file, "accesses %llu\nunanswered %llu\ninterrupts %llu\n", node->accesses, node->unanswered,
		   node->interrupts);
	seq_printf(file, "waited_us %llu\nmedian_us %u\np99_us %u\nlongest_us %llu\n", div_u64(node->waited_ns, 1000),
		   percentile(node, 50), percentile(node, 99), div_u64(node->longest_ns, 1000));
	spin_unlock(&node->stats_lock);
	seq_printf(file, "mappings %u\n", READ_ONCE(node->mappings));
	return 0;
}

static ssize_t stats_write(struct file *file, const char __user *buffer, size_t size, loff_t *offset)
{
	struct node *node = file_inode(file)->i_private;

	spin_lock(&node->stats_lock);
	node->accesses = node->waited_ns = node->longest_ns = node->interrupts = node->unanswered = 0;
	memset(node->waits, 0, sizeof(node->waits));
	spin_unlock(&node->stats_lock);
	return size;
}
DEFINE_SHOW_STORE_ATTRIBUTE(stats);

/* ---- the module ---- */

static void remove_node(struct node *node)
{
	debugfs_remove(node->debugfs);
	if (!IS_ERR_OR_NULL(node->device))
		device_destroy(&node_class, node->number);
	if (node->cdev.ops)
		cdev_del(&node->cdev);
	if (node->number)
		unregister_chrdev_region(node->number, 1);
	if (node->works)
		destroy_workqueue(node->works);
	if (node->page)
		free_page((unsigned long)node->page);
}

static void init_node(struct node *node)
{
	mutex_init(&node->lock);
	mutex_init(&node->access);
	mutex_init(&node->queues);
	spin_lock_init(&node->doorbell_lock);
	spin_lock_init(&node->stats_lock);
	init_waitqueue_head(&node->answered);
	INIT_WORK(&node->start, start_work);
	INIT_WORK(&node->notify, notify_work);
}

static int add_node(struct node *node)
{
	int error;

	init_node(node);
	node->page = (struct shared_page *)get_zeroed_page(GFP_KERNEL);
	node->works = alloc_workqueue("viola-loopback", WQ_UNBOUND, 0);
	if (!node->page || !node->works)
		return -ENOMEM;
	node->page->done = 1;
	error = alloc_chrdev_region(&node->number, 0, 1, "loopback");
	if (error)
		return error;
	snprintf(node->name, sizeof(node->name), multi_sound ? "loopback-%u" : "loopback", MAJOR(node->number));
	cdev_init(&node->cdev, &node_ops);
	node->cdev.owner = THIS_MODULE;
	error = cdev_add(&node->cdev, node->number, 1);
	if (error)
		return error;
	node->device = device_create(&node_class, NULL, node->number, NULL, "%s", node->name);
	if (IS_ERR(node->device))
		return PTR_ERR(node->device);
	node->debugfs = debugfs_create_dir(node->name, debugfs_root);
	debugfs_create_file("offences", 0400, node->debugfs, node, &offences_fops);
	debugfs_create_file("stats", 0600, node->debugfs, node, &stats_fops);
	return 0;
}

static void viola_loopback_exit(void)
{
	while (node_count) {
		struct node *node = &nodes[--node_count];

		if (node->works)
			withdraw(node);
		remove_node(node);
	}
	debugfs_remove(debugfs_root);
	class_unregister(&node_class);
}

static int __init viola_loopback_init(void)
{
	unsigned int wanted = multi_sound ? multi_sound : 1;
	int error;

	if (wanted > MAX_NODES)
		return -EINVAL;
	error = class_register(&node_class);
	if (error)
		return error;
	debugfs_root = debugfs_create_dir("viola-loopback", NULL);
	while (node_count < wanted && !error)
		error = add_node(&nodes[node_count++]);
	if (error)
		viola_loopback_exit();
	return error;
}

module_init(viola_loopback_init);
module_exit(viola_loopback_exit);
MODULE_DESCRIPTION("Test driver with the ABI of AGL's virtio-loopback driver");
MODULE_AUTHOR("The viola authors");
MODULE_LICENSE("GPL");
