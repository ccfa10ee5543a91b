/** The page's texts in English and Chinese, by the person's Telegram language. */

import { BENCH_CHINESE, BENCH_ENGLISH } from "./bench_texts.js";

const ENGLISH = {
  ...BENCH_ENGLISH,
  title: "stemdrop sandbox",
  bot: "bot",
  messages: "Messages",
  noKey: "This address lacks its key. Open the whole link that stemdrop printed in the terminal.",
  wrongKey: "The key in this address is not the key of the sandbox that runs now. Open the link that it printed.",
  lost: "The sandbox does not answer. Trying again …",
  message: "Message",
  send: "Send",
  record: "Record a voice message",
  stopRecording: "Send the recording",
  cancelRecording: "Discard the recording",
  recording: "Recording {time}",
  noMicrophone: "There is no microphone, or the browser may not use it.",
  attach: "Attach",
  choose: "Choose audio files …",
  chooseFile: "Choose any files …",
  ourSong: "Send “{title}”",
  commands: "Commands",
  start: "Start",
  what: "What can this bot do?",
  hint: "Drop a song anywhere on this page, choose one, or take one of ours. Nothing leaves this machine.",
  drop: "Drop to send",
  dropAlbum: "Several files become one album",
  sending: "Sending {name} …",
  play: "Play {name}",
  pause: "Pause {name}",
  seek: "Position in {name}",
  at: "{at} of {length}",
  voice: "voice message",
  download: "Download",
  downloadFile: "Download {name}",
  more: "More about this message",
  copy: "Copy the text",
  copied: "Copied",
  deleteMessage: "Delete for everyone",
  reply: "Reply",
  replyTo: "Reply to {name}",
  cancelReply: "Do not reply",
  edit: "Edit",
  cancelEdit: "Do not edit",
  replied: "Go to the message that this replies to",
  gone: "deleted message",
  elsewhere: "a message of another chat",
  edited: "edited",
  bottom: "Go to the latest message",
  unread: "{count} unread",
  day: "Day colours",
  night: "Night colours",
  typing: "typing …",
  uploading: "sending a file …",
  recordingAction: "recording …",
  you: "You",
  said: "{name}: {text}",
  close: "Close",
  ok: "OK",
  notAnswered: "The bot did not answer the tap.",
  foreignLink: "That link leads out of the sandbox: {url}",
  attachment: "a file",
  photo: "photo",
  sticker: "sticker",
  location: "location",
  contact: "contact",
  topicOpened: "Topic “{name}” opened",
  service: "The chat changed",
  hearSplit: "Hear the split",
  split: "The split",
  loading: "Loading the sounds …",
  notDecoded: "This browser cannot decode one of the sounds.",
  playAll: "Play the stems together",
  pauseAll: "Pause the stems",
  position: "Position in the song",
  hear: "What is heard",
  stems: "Stems",
  original: "Original",
  mute: "Mute {name}",
  solo: "Only {name}",
  volume: "Volume of {name}",
  people: "People and chats",
  youAre: "You are",
  chats: "Your chats",
  thisChat: "This chat",
  newPerson: "New person",
  newGroup: "New group or channel with everyone",
  name: "Name",
  language: "Language",
  groupTitle: "Title",
  kind: "Kind",
  add: "Add",
  group: "group",
  supergroup: "supergroup",
  forum: "group with topics",
  channel: "channel",
  general: "General",
  closed: "closed",
  members: "{count} members",
  block: "Block the bot",
  unblock: "Unblock the bot",
  addBot: "Add the bot again",
  removeBot: "Remove the bot",
  muteBot: "Take the bot's right to send music",
  unmuteBot: "Give the bot its rights back",
  invite: "Add {name}",
  leave: "Leave the group",
  migrate: "Upgrade to a supergroup",
  newTopic: "New topic",
  closeTopic: "Close this topic",
  reopenTopic: "Reopen this topic",
  joined: "{name} joined",
  left: "{name} left",
  upgraded: "The group became a supergroup",
};
/** @typedef {keyof typeof ENGLISH} TextName */

/** @type {Record<TextName, string>} */
const CHINESE = {
  ...BENCH_CHINESE,
  title: "stemdrop 沙盒",
  bot: "机器人",
  messages: "消息",
  noKey: "此地址缺少密钥。请打开终端中显示的完整链接。",
  wrongKey: "此地址的密钥不属于正在运行的沙盒。请打开它显示的链接。",
  lost: "沙盒没有响应，正在重试……",
  message: "消息",
  send: "发送",
  record: "录制语音消息",
  stopRecording: "发送录音",
  cancelRecording: "放弃录音",
  recording: "正在录音 {time}",
  noMicrophone: "没有麦克风，或浏览器无权使用。",
  attach: "附件",
  choose: "选择音频文件……",
  chooseFile: "选择任意文件……",
  ourSong: "发送《{title}》",
  commands: "命令",
  start: "开始",
  what: "这个机器人能做什么？",
  hint: "把歌曲拖到本页任意位置、选择一个文件，或使用我们的一首歌曲。任何内容都不会离开本机。",
  drop: "松开即发送",
  dropAlbum: "多个文件会作为一个专辑发送",
  sending: "正在发送 {name}……",
  play: "播放 {name}",
  pause: "暂停 {name}",
  seek: "{name} 的播放位置",
  at: "{at} / {length}",
  voice: "语音消息",
  download: "下载",
  downloadFile: "下载 {name}",
  more: "此消息的更多操作",
  copy: "复制文字",
  copied: "已复制",
  deleteMessage: "为所有人删除",
  reply: "回复",
  replyTo: "回复 {name}",
  cancelReply: "取消回复",
  edit: "编辑",
  cancelEdit: "取消编辑",
  replied: "转到被回复的消息",
  gone: "已删除的消息",
  elsewhere: "其他聊天中的消息",
  edited: "已编辑",
  bottom: "转到最新消息",
  unread: "{count} 条未读",
  day: "日间配色",
  night: "夜间配色",
  typing: "正在输入……",
  uploading: "正在发送文件……",
  recordingAction: "正在录音……",
  you: "你",
  said: "{name}：{text}",
  close: "关闭",
  ok: "好",
  notAnswered: "机器人没有回应点按。",
  foreignLink: "该链接指向沙盒之外：{url}",
  attachment: "文件",
  photo: "照片",
  sticker: "贴纸",
  location: "位置",
  contact: "联系人",
  topicOpened: "已创建话题“{name}”",
  service: "聊天有变化",
  hearSplit: "试听分轨",
  split: "分轨",
  loading: "正在载入声音……",
  notDecoded: "此浏览器无法解码其中一个声音。",
  playAll: "一起播放所有分轨",
  pauseAll: "暂停分轨",
  position: "歌曲播放位置",
  hear: "试听内容",
  stems: "分轨",
  original: "原曲",
  mute: "静音 {name}",
  solo: "独奏 {name}",
  volume: "{name} 的音量",
  people: "人员与聊天",
  youAre: "你的身份",
  chats: "你的聊天",
  thisChat: "此聊天",
  newPerson: "新人员",
  newGroup: "新群组或频道（所有人）",
  name: "姓名",
  language: "语言",
  groupTitle: "名称",
  kind: "类型",
  add: "添加",
  group: "群组",
  supergroup: "超级群组",
  forum: "话题群组",
  channel: "频道",
  general: "综合",
  closed: "已关闭",
  members: "{count} 位成员",
  block: "屏蔽机器人",
  unblock: "解除屏蔽",
  addBot: "重新加入机器人",
  removeBot: "移除机器人",
  muteBot: "禁止机器人发送音乐",
  unmuteBot: "恢复机器人的权限",
  invite: "添加 {name}",
  leave: "退出群组",
  migrate: "升级为超级群组",
  newTopic: "新话题",
  closeTopic: "关闭此话题",
  reopenTopic: "重新打开此话题",
  joined: "{name} 加入了",
  left: "{name} 退出了",
  upgraded: "群组已升级为超级群组",
};

/** @type {Record<TextName, string>} */
let texts = ENGLISH;

/**
 * Use the texts of a Telegram language such as `zh-hans`; English for all others.
 * @param {string | undefined} language
 */
export function setLanguage(language) {
  const isChinese = (language ?? "").startsWith("zh");
  texts = isChinese ? CHINESE : ENGLISH;
  document.documentElement.lang = isChinese ? "zh" : "en";
  document.title = texts.title;
}

/**
 * Return a text with `{names}` replaced.
 * @param {TextName} name
 * @param {Record<string, string | number>} [values]
 */
export function text(name, values = {}) {
  return texts[name].replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ""));
}

/** @param {number} seconds */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** @param {number} bytes */
export function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** @param {number} unixSeconds */
export function timeOfDay(unixSeconds) {
  return new Date(unixSeconds * 1000).toLocaleTimeString(document.documentElement.lang, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
}

/** @param {number} unixSeconds */
export function secondOfDay(unixSeconds) {
  return new Date(unixSeconds * 1000).toLocaleTimeString(document.documentElement.lang, { hourCycle: "h23" });
}

/** @param {number} unixSeconds */
export function dayOf(unixSeconds) {
  return new Date(unixSeconds * 1000).toLocaleDateString(document.documentElement.lang, { day: "numeric", month: "long" });
}
